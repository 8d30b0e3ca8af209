"""Keeps commands running, and ends them in order."""

import asyncio
import logging
import time
from asyncio.subprocess import Process
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from signal import SIGTERM

from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.processes import Backoff, Program, describe_exit, end, kill_group, launch

_KILLED_BEFORE_READY = 3  # times
_log = logging.getLogger("tallyframe.embedded")


@dataclass(frozen=True)
class Command:
    """A command to keep running: `argv[0]` is a path, `env` its whole environment, `patience` the seconds to end in."""

    name: str
    argv: Sequence[str]
    env: Mapping[str, str]
    patience: float = 35.0


class Supervisor:
    """Keeps its commands running from `start` to `stop`, each in a session of its own; their output is our output.

    One that dies is started again, after half a second, then one, two, up to ten; 30 seconds of life start this over.
    Until `settle` is called, a command that exits by itself is a failure, as is one that is killed three times: a bad
    setting does not get better. `stop` ends them in the order given.
    """

    def __init__(self, commands: Sequence[Command], *, hurry: asyncio.Event | None = None) -> None:
        hurry = hurry or asyncio.Event()
        self._children = [_Child(command, hurry) for command in commands]

    @property
    def pids(self) -> dict[str, int]:
        """The process ids of the commands that run now, by name."""
        return {child.command.name: child.process.pid for child in self._children if child.process is not None}

    def start(self) -> None:
        """Start them all; their failures show in `failed`."""
        for child in self._children:
            child.start()

    def settle(self) -> None:
        """Say that all was ready once: from now on, whatever dies is started again."""
        for child in self._children:
            child.settled = True

    async def failed(self) -> None:
        """Wait for as long as all goes well; raises EmbeddedError when a command cannot be kept running."""
        await asyncio.gather(*(child.over() for child in self._children))

    async def stop(self) -> None:
        """End the commands one after the other, each within its patience, else by force, with all they started."""
        for child in self._children:
            await child.stop()


class _Child:
    """One command and its process of the moment."""

    def __init__(self, command: Command, hurry: asyncio.Event) -> None:
        self.command = command
        self.process: Process | None = None
        self.settled = False
        self._hurry = hurry
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._task = asyncio.create_task(self._keep_running())

    async def over(self) -> None:
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        self._stopping.set()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)  # a failure was for `failed` to report

    async def _keep_running(self) -> None:
        backoff, deaths = Backoff(), 0
        while True:
            began = time.monotonic()
            code = await self._run()
            if self._stopping.is_set():
                return
            deaths += 1
            self._judge(code, deaths)
            wait = backoff.after(time.monotonic() - began)
            _log.warning("%s died (%s); it starts again in %.1f s.", self.command.name, describe_exit(code), wait)
            if await _set_within(self._stopping, wait):
                return

    async def _run(self) -> int:
        """Run the command to its end, or to the end of our patience once we stop; returns the exit code."""
        try:
            self.process = process = await launch(Program(self.command.argv, self.command.env))
        except OSError as error:
            raise EmbeddedError(f"{self.command.name} cannot be started: {error}") from error
        stop = asyncio.create_task(self._stopping.wait())
        exited = asyncio.create_task(process.wait())
        try:
            await asyncio.wait({stop, exited}, return_when=asyncio.FIRST_COMPLETED)
            if not exited.done():
                await end(process, [(SIGTERM, self.command.patience)], self._hurry)
            return await exited
        finally:
            stop.cancel()
            kill_group(process)  # what it started may hold its port
            self.process = None

    def _judge(self, code: int, deaths: int) -> None:
        if self.settled:
            return
        if code >= 0:
            raise EmbeddedError(f"{self.command.name} could not start ({describe_exit(code)}); it says why above.")
        if deaths == _KILLED_BEFORE_READY:
            raise EmbeddedError(f"{self.command.name} was killed {deaths} times before it was ready.")


async def _set_within(event: asyncio.Event, seconds: float) -> bool:
    """Wait up to so many seconds for the event; whether it came."""
    try:
        async with asyncio.timeout(seconds):
            return await event.wait()
    except TimeoutError:
        return False
