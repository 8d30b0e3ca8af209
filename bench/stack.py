"""Servers and child processes of one benchmark, in a temporary folder; all end with their blocks."""

import asyncio
import os
import signal
import socket
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import asyncpg
import psutil

import tallyframe
from tallyframe.embedded import Servers, servers
from tallyframe.embedded.processes import Program, Steps, end, launch

ROOT = Path(__file__).parents[1]
UNDER_TEST = Path(tallyframe.__file__).parents[1]  # the same for every process, whatever folder it runs in
START_WITHIN = 30.0  # seconds
_POLL = 0.02  # seconds
_END: Steps = ((signal.SIGTERM, 2.0),)


@dataclass(frozen=True)
class Child:
    """A process of ours with its output, and the port where it listens, if it does."""

    process: Process
    log: Path
    port: int = 0

    @property
    def cpu(self) -> float:
        """Seconds of processor time that it has used."""
        times = psutil.Process(self.process.pid).cpu_times()
        return times.user + times.system

    @property
    def rss(self) -> float:
        """Resident memory, in MB."""
        return psutil.Process(self.process.pid).memory_info().rss / 1e6


@dataclass
class Stack:
    """The servers, and the folder for all that is written."""

    servers: Servers
    folder: Path
    _count: int = field(default=0)

    def file(self, name: str) -> Path:
        """Return a new file name."""
        self._count += 1
        return self.folder / f"{self._count}-{name}"

    async def run(self, argv: Sequence[str], environment: Mapping[str, str]) -> str:
        """Run a program to its end and return its output. Raises RuntimeError with the output if it fails."""
        async with self._launched(argv, environment) as child:
            if await child.process.wait():
                raise _failed(argv[0], child.log)
            return child.log.read_text()

    @asynccontextmanager
    async def serving(self, argv: Sequence[str], environment: Mapping[str, str], port: int) -> AsyncIterator[Child]:
        """Run a program for the block, which begins when it listens on the port."""
        async with self._launched(argv, environment, port) as child:
            await _until(child, lambda: _listens(port))
            yield child

    @asynccontextmanager
    async def telling(self, argv: Sequence[str], environment: Mapping[str, str], words: str) -> AsyncIterator[Child]:
        """Run a program for the block, which begins when its output has these words."""
        async with self._launched(argv, environment) as child:
            await _until(child, lambda: words in child.log.read_text())
            yield child

    @asynccontextmanager
    async def _launched(
        self, argv: Sequence[str], environment: Mapping[str, str], port: int = 0
    ) -> AsyncIterator[Child]:
        log = self.file("output")
        program = {**_surroundings(), **environment}
        with log.open("wb") as file:
            process = await launch(Program(argv, program, folder=self.folder, output=file.fileno()))
        try:
            yield Child(process, log, port)
        finally:
            await end(process, _END, asyncio.Event())


@asynccontextmanager
async def stack() -> AsyncIterator[Stack]:
    """Run servers for the block: durable as in production. Postgres keeps the time of each commit."""
    with tempfile.TemporaryDirectory(prefix="tallyframe-bench-") as name:
        folder = Path(name)
        async with servers(folder / "data", durable=True) as both:
            owner = await asyncpg.connect(both.database_url)
            await owner.execute("ALTER SYSTEM SET track_commit_timestamp = on")
            await owner.close()
            await both.postgres.stop()
            await both.postgres.start()
            yield Stack(both, folder)


def _surroundings() -> dict[str, str]:
    """Return our environment without settings of whoever runs this, and such that `bench` can be imported."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("TALLYFRAME_", "PG"))}
    return {**others, "PYTHONPATH": f"{ROOT}:{UNDER_TEST}"}


async def _until(child: Child, is_ready: Callable[[], bool]) -> None:
    """Wait for the process to serve. Raises RuntimeError if it has ended or time is up."""
    until = monotonic() + START_WITHIN
    while not is_ready():
        if child.process.returncode is not None or monotonic() > until:
            raise _failed("a process that should serve", child.log)
        await asyncio.sleep(_POLL)


def _listens(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def _failed(what: str, output: Path) -> RuntimeError:
    return RuntimeError(f"{what} failed:\n{output.read_text()[-2000:]}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
