"""The README's walk is walked, against a real stack."""

import asyncio
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from time import monotonic, sleep

import pytest

from tests.support.processes import free_port

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def blocks(mark: str) -> list[str]:
    """The fenced blocks that follow `<!-- mark -->`."""
    return re.findall(rf"^<!-- {mark} -->\n```\w*\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """`make run`, on a free port and with a fresh data folder."""
    folder = tmp_path_factory.mktemp("stack")
    command = [sys.executable, "-m", "tallyframe", "dev", "--port", str(free_port()), "--data-dir", str(folder)]
    with (folder / "dev.log").open("wb") as log:
        process = subprocess.Popen(command, env=environment(), stdout=log, stderr=subprocess.STDOUT)
    try:
        yield ready(process, folder)
    finally:
        process.terminate()
        try:
            process.wait(45)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def ready(process: "subprocess.Popen[bytes]", folder: Path) -> dict[str, str]:
    until = monotonic() + 120
    while not (folder / "stack.json").exists():
        assert process.poll() is None, (folder / "dev.log").read_text()
        assert monotonic() < until, (folder / "dev.log").read_text()
        sleep(0.05)
    found: dict[str, str] = json.loads((folder / "stack.json").read_text())
    return found


def environment(**more: str) -> dict[str, str]:
    """Ours, without what would configure Tallyframe or lead curl away."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("TALLYFRAME_")}
    return {**kept, "no_proxy": "127.0.0.1", "NO_PROXY": "127.0.0.1", **more}


async def test_the_walk_works_and_prints_what_it_says(stack: dict[str, str], tmp_path: Path) -> None:
    script, expected = "\n".join(blocks("walkthrough")), blocks("output")
    process = await asyncio.create_subprocess_exec(
        *("bash", "-euo", "pipefail", "-c", script),
        cwd=ROOT,
        env=environment(TALLYFRAME_URL=stack["url"], TALLYFRAME_KEY=stack["api_key"], TMPDIR=str(tmp_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        printed, complaints = await asyncio.wait_for(process.communicate(), 120)
    finally:
        if process.returncode is None:
            process.kill()
    assert (process.returncode, complaints) == (0, b""), (printed + complaints).decode()
    text = printed.decode()
    assert text.startswith("10000 credits to begin with\n")
    assert len(expected) >= 6
    position = 0
    for output in expected:  # each whole, and one after the other
        assert output in text[position:], f"{output!r} is not in what was printed:\n{text}"
        position = text.index(output, position) + len(output)
    assert position == len(text)
    assert list(tmp_path.iterdir()) == []


def test_the_books_still_balance_after_it(stack: dict[str, str]) -> None:
    environ = environment(TALLYFRAME_DATABASE_URL=stack["database_url"])
    command = [sys.executable, "-m", "tallyframe", "ledger", "verify"]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=90, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 accounts, 7 entries, 19980 credits in all." in done.stdout
