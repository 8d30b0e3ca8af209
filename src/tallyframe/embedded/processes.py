"""Starts and ends programs so that none outlives us."""

import asyncio
import os
import signal
import sys
from asyncio.subprocess import DEVNULL, Process
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from tallyframe.embedded.files import User

_LAUNCHER = Path(__file__).with_name("child.py")
_HURRY = 1.0  # seconds for each signal to take effect, once we are in a hurry

Steps = Sequence[tuple[signal.Signals, float]]


@dataclass(frozen=True)
class Program:
    """A program to run, in the working folder `folder`, with `env` as its whole environment.

    `death_signal` is what the kernel sends it when we die (Linux only). `stdin` is all that it can read there, a few
    kilobytes at most. `output` is the descriptor for its stdout and stderr; None: ours.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    death_signal: signal.Signals = signal.SIGKILL
    user: User | None = None
    folder: Path | None = None
    stdin: bytes = field(default=b"", repr=False)  # may hold a password
    output: int | None = None


async def launch(program: Program) -> Process:
    """Start the program in a session of its own, which a terminal's Ctrl-C does not reach. It ends when we do.

    Call it from the main thread only: the kernel sends `death_signal` when the starting thread ends.
    """
    user = f"{program.user.uid}:{program.user.gid}" if program.user else "-"
    # -I and -S: no environment variable and no site package plays a part, and it is up in 15 ms.
    launcher = [sys.executable, "-I", "-S", str(_LAUNCHER), str(os.getpid()), str(int(program.death_signal)), user]
    stdin = DEVNULL
    if program.stdin:
        stdin, writer = os.pipe()
        os.write(writer, program.stdin)  # fits into the pipe's buffer
        os.close(writer)
    try:
        return await asyncio.create_subprocess_exec(
            *launcher,
            *program.argv,
            env=program.env,
            cwd=program.folder,
            stdin=stdin,
            stdout=program.output,
            stderr=program.output,
            start_new_session=True,
        )
    finally:
        if stdin != DEVNULL:
            os.close(stdin)


async def run_to_end(program: Program) -> int:
    """Run the program and return its exit code; if we are cancelled, it is killed."""
    process = await launch(program)
    try:
        return await process.wait()
    finally:
        kill_group(process)
        await process.wait()


def send(process: Process, number: signal.Signals | int) -> None:
    """Send a signal. Raises ProcessLookupError where the process has ended.

    asyncio's own looks first whether it has ended, and if so, takes its exit code away from whoever waits for it: then
    that is 255, with a warning (`subprocess.Popen.send_signal` polls).
    """
    if process.returncode is not None:
        raise ProcessLookupError
    os.kill(process.pid, number)


async def end(process: Process, steps: Steps, hurry: asyncio.Event) -> None:
    """End the process: send each step's signal and wait for its seconds; in the end kill it and all it started.

    Once `hurry` is set, each step takes a second at most.
    """
    if process.returncode is not None:
        return  # it may have ended long ago, and its process id may be another's by now
    for number, limit in steps:
        for each in (number, signal.SIGCONT):  # a stopped process does not take the signal
            with suppress(ProcessLookupError):
                send(process, each)
        if await _ended(process, limit, hurry):
            break
    kill_group(process)
    await process.wait()


async def _ended(process: Process, limit: float, hurry: asyncio.Event) -> bool:
    """Wait up to `limit` seconds, fewer in a hurry, for the process to end; return whether it did."""
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


def describe_exit(code: int) -> str:
    """Say how a process ended, by its exit code as Python gives it: "exit code 3" or "SIGKILL"."""
    if code >= 0:
        return f"exit code {code}"
    with suppress(ValueError):
        return signal.Signals(-code).name
    return f"signal {-code}"
