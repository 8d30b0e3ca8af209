"""One program that is kept running, whatever kills it, as an operator's process manager would."""

import asyncio
import random
import signal
from asyncio.subprocess import Process
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

from tallyframe.embedded.processes import Program, Steps, describe_exit, end, launch

_PAUSE = (0.1, 1.0)  # seconds before what has ended is started again
_END: Steps = ((signal.SIGTERM, 12.0),)
_ENDING = (signal.SIGKILL, signal.SIGTERM)
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
    deaths: list[str] = field(default_factory=list)  # how it ended when nobody had asked it to
    _was_asked: bool = False
    _process: Process | None = None
    _keeping: "asyncio.Task[None] | None" = None
    _stopping: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def log(self) -> Path:
        """Where all that it says is kept."""
        return self.folder / f"{self.name}.log"

    @property
    def runs(self) -> bool:
        """Whether it runs at this moment; a frozen one does."""
        return self._process is not None and self._process.returncode is None

    async def start(self) -> None:
        """Start it, and from now on whenever it has ended."""
        await self._launch()
        self._keeping = asyncio.create_task(self._keep())

    async def until_up(self, seconds: float = 60) -> None:
        """Wait until it serves. Raises RuntimeError when it ends, or does not within `seconds`."""
        until = monotonic() + seconds
        while not await self.is_up():
            if not self.runs or monotonic() > until:
                raise RuntimeError(f"{self.name} did not start; see {self.log}")
            await asyncio.sleep(_LOOK)

    def signal(self, number: signal.Signals) -> bool:
        """Send a signal; False: it did not run."""
        if self._process is None or not self.runs:
            return False
        self._was_asked = self._was_asked or number in _ENDING
        with suppress(ProcessLookupError):
            self._process.send_signal(number)
        return True

    async def stop(self) -> None:
        """End it for good."""
        self._stopping.set()
        if self._process is not None:
            await end(self._process, _END, asyncio.Event())
        if self._keeping is not None:
            await self._keeping

    async def _launch(self) -> None:
        with self.log.open("ab") as output:
            program = Program(self.argv, self.environment, folder=self.folder, output=output.fileno())
            self._process = await launch(program)
        self._was_asked = False
        self.starts += 1

    async def _keep(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            if not (self._was_asked or self._stopping.is_set()):
                self.deaths.append(describe_exit(code))
            with suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self.lot.uniform(*_PAUSE))
            if self._stopping.is_set():
                return
            await self._launch()
