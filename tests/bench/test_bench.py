"""Does the benchmark run, and leave nothing behind? How fast things are is nobody's test."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import psutil
import pytest

ROOT = Path(__file__).parents[2]
#: Each row that a quick run must have, as (name, peer).
ROWS = {
    ("accept", "pgbench"),
    ("accept", "usual"),
    ("accept", "bare"),
    ("poll", "bare"),
    ("poll", "usual"),
    ("poll_304", "bare"),
    ("poll_304_memory", "bare"),
    ("hot_account", "pgbench"),
    ("pickup", "arq"),
    ("refund", None),
    ("pipeline", "arq"),
    ("second_worker", "one worker"),
    ("waiting_videos", None),
    ("waiting_videos", "usual"),
    ("waiting_videos", "none waiting"),
}


def of_this_run(folder: Path) -> list[psutil.Process]:
    """All processes that were told to keep their temporary files in `folder`, or work in it."""
    return [process for process in psutil.process_iter() if str(folder) in surroundings(process)]


def surroundings(process: psutil.Process) -> str:
    try:
        return f"{process.cwd()} {process.environ().get('TMPDIR', '')} {process.cmdline()}"
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""


@pytest.fixture(scope="module")
async def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Path]:
    folder, found = tmp_path_factory.mktemp("bench"), tmp_path_factory.mktemp("found") / "rows.json"
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(folder), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    argv = [sys.executable, "-m", "bench", "--quick", "--json", str(found)]
    process = await asyncio.create_subprocess_exec(*argv, cwd=ROOT, env=environment, stdout=-1, stderr=-2)
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return json.loads(found.read_text()), folder


def test_every_row_is_there(ran: tuple[dict[str, Any], Path]) -> None:
    found = {(row["name"], row["against"]) for row in ran[0]["rows"]}
    assert found >= ROWS


def test_rows_have_positive_figures(ran: tuple[dict[str, Any], Path]) -> None:
    for row in ran[0]["rows"]:
        if row["figure"] != "memory":  # a difference, of either sign
            assert row["value"] > 0, row
        assert row["ratio"] is None or row["figure"] == "memory" or row["ratio"] > 0, row
        assert row["met"] is None or row["target"], row


def test_nothing_is_left(ran: tuple[dict[str, Any], Path]) -> None:
    _, folder = ran
    assert of_this_run(folder) == []
    assert list(folder.iterdir()) == []
