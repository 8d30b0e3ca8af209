"""One program that is started again whenever it ends, as a process manager would."""

import asyncio
import random
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic, time

from tallyframe.embedded.processes import Program, Steps, describe_exit, end, launch, send

_PAUSE = (0.1, 1.0)  # seconds before it is started again
_END: Steps = ((signal.SIGTERM, 12.0),)
_ENDING = {signal.SIGKILL, signal.SIGTERM}
_PATIENCE = 60.0  # seconds that a process may take to end after SIGTERM, with faults going on
_IN_ORDER = (0, -signal.SIGTERM)  # good exit codes after SIGTERM; uvicorn ends by the signal itself
_LOOK = 0.05  # seconds


@dataclass
class Child:
    """A program, its log, and how often it was started. `is_up` tells whether it serves."""

    name: str
    argv: Sequence[str]
    environment: Mapping[str, str]
    folder: Path
    lot: random.Random
    is_up: Callable[[], Awaitable[bool]]
    starts: int = 0
    deaths: list[str] = field(default_factory=list)  # how it ended without having been asked to
    problems: list[str] = field(default_factory=list)  # how it didn't end properly after SIGTERM
    ended_after: list[float] = field(default_factory=list)  # seconds from each SIGTERM to its end
    lives: list[tuple[float, str]] = field(default_factory=list)  # when it was started, and each signal to it
    _asked_at: float | None = None  # when it got SIGTERM, unless it was killed as well
    _log_from: int = 0  # position in the log at its latest start
    _sent: set[signal.Signals] = field(default_factory=set)  # since its latest start
    _process: Process | None = None
    _keeping: "asyncio.Task[None] | None" = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def log(self) -> Path:
        """The file with its output, over all starts."""
        return self.folder / f"{self.name}.log"

    def output(self) -> str:
        """Return what it has printed since its latest start."""
        return self.log.read_bytes()[self._log_from :].decode(errors="replace")

    @property
    def pid(self) -> int | None:
        """The id of its process, if it runs."""
        return self._process.pid if self._process is not None and self.runs else None

    @property
    def runs(self) -> bool:
        """Whether it runs now; a frozen process does."""
        return self._process is not None and self._process.returncode is None

    @property
    def is_ending(self) -> bool:
        """Whether it has got a signal that ends it, since its latest start."""
        return bool(self._sent & _ENDING)

    async def start(self) -> None:
        """Start it, and start it again whenever it ends."""
        await self._launch()
        self._keeping = asyncio.create_task(self._keep())

    async def until_up(self, seconds: float = 60) -> None:
        """Wait until it serves. Raises RuntimeError when it ends, or does not within `seconds`."""
        if not await self._comes_up(seconds, lambda: self.runs):
            raise RuntimeError(f"{self.name} did not start; see {self.log}")

    async def serves_within(self, seconds: float) -> bool:
        """Wait until it serves, also over restarts. False: it doesn't within `seconds`."""
        return await self._comes_up(seconds, lambda: True)

    async def _comes_up(self, seconds: float, may_still: Callable[[], bool]) -> bool:
        until = monotonic() + seconds
        while not await self.is_up():
            if monotonic() > until or not may_still():
                return False
            await asyncio.sleep(_LOOK)
        return True

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal. False: it doesn't run."""
        if self._process is None or not self.runs:
            return False
        self._sent.add(number)
        self.lives.append((time(), number.name))
        # After a SIGKILL, its end tells nothing about how it handles SIGTERM.
        self._asked_at = monotonic() if number is signal.SIGTERM and signal.SIGKILL not in self._sent else None
        with suppress(ProcessLookupError):
            send(self._process, number)
        return True

    async def stop(self) -> None:
        """End it, and don't start it again."""
        self._stopping.set()
        if self._asked_at and self.runs and monotonic() - self._asked_at > _PATIENCE:
            self.problems.append(f"{self.name} was asked to end {monotonic() - self._asked_at:.0f} s ago and runs")
        if self._process is not None:
            await end(self._process, _END, asyncio.Event())
        if self._keeping is not None:
            await self._keeping

    async def _launch(self) -> None:
        with self.log.open("ab") as output:
            self._log_from = output.tell()
            program = Program(self.argv, self.environment, folder=self.folder, output=output.fileno())
            self._process = await launch(program)
        (self.folder / f"{self.name}.pid").write_text(str(self._process.pid))
        self._sent, self._asked_at = set(), None
        self.starts += 1
        self.lives.append((time(), "started"))
        if self._stopping.is_set():  # while it was being started: nobody else would end it
            await end(self._process, _END, asyncio.Event())

    async def _keep(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            if not (self.is_ending or self._stopping.is_set()):
                self.deaths.append(describe_exit(code))
            self._note_bad_end(code)
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self.lot.uniform(*_PAUSE))
            if self._stopping.is_set():
                return
            await self._launch()

    def _note_bad_end(self, code: int) -> None:
        """Add to `problems` if it got SIGTERM and ended late or with a bad exit code."""
        if self._asked_at is None or self._stopping.is_set():
            return
        took = monotonic() - self._asked_at
        self.ended_after.append(took)
        if code not in _IN_ORDER or took > _PATIENCE:
            self.problems.append(f"{self.name} was asked to end: {describe_exit(code)}, {took:.0f} s later")
