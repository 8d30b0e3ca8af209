"""Commands are kept running, and ended in order with all they started."""

import asyncio
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from tallyframe.embedded import EmbeddedError
from tallyframe.embedded.processes import Backoff, describe_exit
from tallyframe.embedded.supervisor import Command, Supervisor

STAND_IN = str(Path(__file__).with_name("stand_in.py"))


def command(name: str, *argv: str, folder: Path | None = None, patience: float = 5.0) -> Command:
    env = {"TALLYFRAME_DATA_DIR": str(folder)} if folder else {}
    return Command(name, [sys.executable, STAND_IN, *argv], env, patience)


async def until(check: Callable[[], object], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while not check():
            await asyncio.sleep(0.02)


async def test_a_killed_command_starts_again_and_all_end_in_order(tmp_path: Path) -> None:
    supervisor = Supervisor([command(name, "worker", folder=tmp_path) for name in ("worker", "api")])
    supervisor.start()
    await until(lambda: len(supervisor.pids) == 2)
    supervisor.settle()
    first = supervisor.pids["worker"]
    os.kill(first, signal.SIGKILL)
    await until(lambda: supervisor.pids.get("worker", first) != first)
    last = supervisor.pids
    await until(lambda: all((tmp_path / f"working-{pid}").exists() for pid in last.values()))  # they listen to SIGTERM
    await supervisor.stop()
    assert supervisor.pids == {}
    assert not any(psutil.pid_exists(pid) for pid in last.values())
    assert (tmp_path / "ended").read_text().split() == ["worker", "worker"]


async def test_a_command_that_exits_before_all_is_ready_is_a_failure() -> None:
    supervisor = Supervisor([command("worker", "worker"), command("api", "broken")])
    supervisor.start()
    with pytest.raises(EmbeddedError) as failed:
        await asyncio.wait_for(supervisor.failed(), 60)
    assert str(failed.value) == "api could not start (exit code 1); it says why above."
    await supervisor.stop()


async def test_a_command_that_is_killed_three_times_before_all_is_ready_is_a_failure() -> None:
    suicidal = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    supervisor = Supervisor([Command("worker", [sys.executable, "-c", suicidal], {})])
    supervisor.start()
    with pytest.raises(EmbeddedError) as failed:
        await asyncio.wait_for(supervisor.failed(), 60)
    assert str(failed.value) == "worker was killed 3 times before it was ready."
    await supervisor.stop()


async def test_a_command_that_does_not_exist_is_a_failure() -> None:
    supervisor = Supervisor([Command("api", ["/nowhere/python"], {})])
    supervisor.start()
    with pytest.raises(EmbeddedError, match=r"api could not start \(exit code 126\)"):
        await asyncio.wait_for(supervisor.failed(), 60)
    await supervisor.stop()


async def test_what_a_command_started_ends_with_it(tmp_path: Path) -> None:
    supervisor = Supervisor([command("worker", "parent", str(tmp_path / "pid"))])
    supervisor.start()
    await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text())
    started = int((tmp_path / "pid").read_text())
    assert psutil.pid_exists(started)
    await supervisor.stop()
    await until(lambda: not psutil.pid_exists(started) or psutil.Process(started).status() == psutil.STATUS_ZOMBIE)


async def test_one_that_ignores_the_signal_is_killed_and_a_hurry_makes_it_soon(tmp_path: Path) -> None:
    stubborn = "import signal, sys, time; signal.signal(15, signal.SIG_IGN); open(sys.argv[1], 'w'); time.sleep(600)"
    ready, hurry = tmp_path / "ready", asyncio.Event()
    ignoring = Command("worker", [sys.executable, "-c", stubborn, str(ready)], {}, patience=35.0)
    supervisor = Supervisor([ignoring], hurry=hurry)
    supervisor.start()
    await until(ready.exists)  # it ignores the signal
    began = time.monotonic()
    hurry.set()
    await supervisor.stop()
    assert time.monotonic() - began < 20  # of its 35


def test_waits_double_up_to_ten_seconds_and_a_long_life_starts_over() -> None:
    backoff = Backoff()
    assert [backoff.after(0) for _ in range(7)] == [0.5, 1, 2, 4, 8, 10, 10]
    assert [backoff.after(30), backoff.after(0)] == [0.5, 1]


def test_an_exit_is_described() -> None:
    assert [describe_exit(code) for code in (3, -9, -99)] == ["exit code 3", "SIGKILL", "signal 99"]
