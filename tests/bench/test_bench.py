"""Does the benchmark run, and leave nothing behind? How fast things are is nobody's test."""

import asyncio
import os
import re
import sys
from pathlib import Path

import psutil
import pytest

from bench.pickup import Waits
from bench.report import print_waits

ROOT = Path(__file__).parents[2]
QUICKEST = "pickup: 202 to started"  # is 0 where the worker was quicker than the answer, each of five times
WAITS = (QUICKEST, "pickup: written to started", "end to end: sent to succeeded")
ROWS = (
    "accept: POST /v1/projects",
    "accept: pgbench, same SQL",
    "accept: bare FastAPI POST",
    "poll: GET, 200",
    "poll: pgbench, SQL of the 200",
    "poll: GET, 304",
    "poll: pgbench, SQL of the 304",
    "poll: bare FastAPI GET",
    *WAITS,
)


def of_this_run(folder: Path) -> list[psutil.Process]:
    """All processes that were told to keep their temporary files in `folder`, or work in it."""
    return [process for process in psutil.process_iter() if str(folder) in surroundings(process)]


def surroundings(process: psutil.Process) -> str:
    try:
        return f"{process.cwd()} {process.environ().get('TMPDIR', '')} {process.cmdline()}"
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""


@pytest.fixture(scope="module")
async def printed(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, Path]:
    folder = tmp_path_factory.mktemp("bench")
    environment = {"PATH": "/usr/bin:/bin", "TMPDIR": str(folder), "PYTHONPATH": os.environ.get("PYTHONPATH", "")}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "bench", "--quick", cwd=ROOT, env=environment, stdout=-1, stderr=-2
    )
    output, _ = await process.communicate()
    assert process.returncode == 0, output.decode()
    return output.decode(), folder


@pytest.mark.parametrize("row", ROWS)
def test_row_has_positive_figures(printed: tuple[str, Path], row: str) -> None:
    lines = [line for line in printed[0].splitlines() if row in line]
    assert len(lines) == (2 if row in WAITS else 1)  # alone, and beside a flood
    for line in lines:
        figures = re.findall(r"[│|]\s+(-?\d[\d.]*)\s", line.split(row, 1)[1])
        assert len(figures) >= 3
        assert float(figures[0]) > 0 or row == QUICKEST
        assert all(float(figure) >= 0 for figure in figures)  # a short wait may be printed as 0.00


def test_no_wait_alone_has_no_ratio(capsys: pytest.CaptureFixture[str]) -> None:
    alone, beside = Waits(QUICKEST, 0.0, 0.0, 0.0), Waits(QUICKEST, 1.5, 1.0, 2.0)
    print_waits("beside", [beside], alone=[alone])
    line = next(line for line in capsys.readouterr().out.splitlines() if QUICKEST in line)
    assert re.findall(r"\d+\.\d+", line) == ["1.5", "1.0", "2.0"]


def test_nothing_is_left(printed: tuple[str, Path]) -> None:
    _, folder = printed
    assert of_this_run(folder) == []
    assert list(folder.iterdir()) == []
