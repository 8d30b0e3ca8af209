"""Starting and ending programs, so that none is left behind."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from tallyframe.embedded.files import User

_LAUNCHER = Path(__file__).with_name("child.py")
_HURRY = 1.0  # seconds that are left to a program, once we are in a hurry, between one signal and the next

Steps = Sequence[tuple[signal.Signals, float]]


@dataclass(frozen=True)
class Program:
    """A program to run. `death_signal` is what it gets should we be killed; `folder` is its working folder."""

    argv: Sequence[str]
    env: Mapping[str, str]
    death_signal: signal.Signals = signal.SIGKILL
    user: User | None = None
    folder: Path | None = None
    stdin: int = DEVNULL
    output: int | None = None  # where stdout and stderr go: a descriptor, or None for our own


async def launch(program: Program) -> Process:
    """Start the program in its own session, where a terminal's Ctrl-C does not reach; it ends when we do.

    Call it from the main thread only: for Linux, "we" are the thread that starts the program.
    """
    user = f"{program.user.uid}:{program.user.gid}" if program.user else "-"
    # -I and -S: nothing of the surroundings takes part, and it is up in 15 ms.
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(int(program.death_signal)), user]
    return await asyncio.create_subprocess_exec(
        *launcher,
        *program.argv,
        env=program.env,
        cwd=program.folder,
        stdin=program.stdin,
        stdout=program.output,
        stderr=program.output,
        start_new_session=True,
    )


async def run_to_end(program: Program) -> int:
    """Run the program and return its exit code; if we are cancelled, it is killed."""
    process = await launch(program)
    try:
        return await process.wait()
    finally:
        kill_group(process)
        await process.wait()


async def end(process: Process, steps: Steps, hurry: asyncio.Event) -> None:
    """End the process: each step is a signal and the seconds to wait for its effect. What is left is killed.

    Once `hurry` is set, each step gets no more than a second.
    """
    if process.returncode is not None:
        return  # long since, perhaps: its number may be somebody else's by now
    for number, limit in steps:
        for each in (number, signal.SIGCONT):  # a frozen process would not take the signal
            with suppress(ProcessLookupError):
                process.send_signal(each)
        if await _ended(process, limit, hurry):
            break
    kill_group(process)
    await process.wait()


async def _ended(process: Process, limit: float, hurry: asyncio.Event) -> bool:
    """Wait up to `limit` seconds for the end of the process, less in a hurry; whether it ended."""
    ended, hurried = asyncio.ensure_future(process.wait()), asyncio.ensure_future(hurry.wait())
    try:
        await asyncio.wait({ended, hurried}, timeout=limit, return_when=asyncio.FIRST_COMPLETED)
        if not ended.done() and hurry.is_set():
            await asyncio.wait({ended}, timeout=min(limit, _HURRY))
        return ended.done()
    finally:
        ended.cancel()
        hurried.cancel()


def kill_group(process: Process) -> None:
    """Kill what is left of the process and of those that it started."""
    with suppress(ProcessLookupError, PermissionError):  # PermissionError: macOS, for a group of zombies
        os.killpg(process.pid, signal.SIGKILL)


class Backoff:
    """How long to wait before a program that died is started again: doubling, up to a limit."""

    FIRST, LIMIT, LONG_LIFE = 0.5, 10.0, 30.0  # seconds

    def __init__(self) -> None:
        self._next = self.FIRST

    def after(self, lived: float) -> float:
        """Say how many seconds to wait after a life of `lived` seconds; a long one starts over."""
        wait = self.FIRST if lived >= self.LONG_LIFE else self._next
        self._next = min(wait * 2, self.LIMIT)
        return wait


def describe_exit(code: int) -> str:
    """Say how a process ended, from its exit code as Python gives it."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
