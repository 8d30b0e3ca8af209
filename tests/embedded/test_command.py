"""A command ends with all that it started, and in time."""

import asyncio
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tallyframe.embedded import EmbeddedError
from tallyframe.embedded.command import Command
from tallyframe.embedded.processes import describe_exit

STAND_IN = str(Path(__file__).with_name("stand_in.py"))


async def until(check: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.02)


def is_gone(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


async def test_it_ends_by_the_signal_and_can_start_again(tmp_path: Path) -> None:
    command = Command("worker", [sys.executable, STAND_IN, "worker"], {"TALLYFRAME_DATA_DIR": str(tmp_path)})
    for _ in range(2):
        await command.start()
        pid = command.process.pid
        await until((tmp_path / f"working-{pid}").exists)  # it listens to SIGTERM
        await command.stop()
        assert not psutil.pid_exists(pid)
    assert (tmp_path / "ended").read_text().split() == ["worker", "worker"]


async def test_one_that_does_not_run_is_stopped_without_a_word() -> None:
    command = Command("worker", ["/nowhere/python"], {})
    await command.stop()
    with pytest.raises(EmbeddedError, match=r"worker is not running\."):
        await command.wait()


async def test_its_exit_code_tells_how_it_ended() -> None:
    for script, code in (("exit 3", 3), ("kill -9 $$", -signal.SIGKILL)):
        command = Command("worker", ["/bin/sh", "-c", script], {})
        await command.start()
        assert await asyncio.wait_for(command.wait(), 60) == code


async def test_a_program_that_does_not_exist_has_exit_code_126() -> None:
    command = Command("api", ["/nowhere/python"], {})
    await command.start()
    assert await asyncio.wait_for(command.wait(), 60) == 126


@pytest.mark.parametrize("dies_first", [False, True])
async def test_what_it_started_ends_with_it(tmp_path: Path, *, dies_first: bool) -> None:
    command = Command("worker", [sys.executable, STAND_IN, "parent", str(tmp_path / "pid")], {})
    await command.start()
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    started = int((tmp_path / "pid").read_text())
    assert not is_gone(started)
    if dies_first:
        command.process.kill()
        await command.wait()
    await command.stop()
    await until(lambda: is_gone(started))


async def test_one_that_ignores_the_signal_is_killed_and_a_hurry_makes_it_soon(tmp_path: Path) -> None:
    stubborn = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(600)"
    ready, hurry = tmp_path / "ready", asyncio.Event()
    argv = [sys.executable, "-c", stubborn, str(ready)]
    command = Command("worker", argv, {}, patience=35.0, hurry=hurry)
    await command.start()
    await until(ready.exists)  # it ignores the signal
    began = time.monotonic()
    hurry.set()
    await command.stop()
    assert time.monotonic() - began < 20  # of its 35


def test_an_exit_is_described() -> None:
    assert [describe_exit(code) for code in (3, -9, -99)] == ["exit code 3", "SIGKILL", "signal 99"]
