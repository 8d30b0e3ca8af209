"""Servers and child processes of one benchmark, in a temporary folder; all end with the block."""

import asyncio
import os
import signal
import socket
import sys
import tempfile
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import tallyframe
from tallyframe.embedded import Servers, servers
from tallyframe.embedded.processes import Program, Steps, end, launch
from tallyframe.migrate import migrate

ROOT = Path(__file__).parents[1]
UNDER_TEST = Path(tallyframe.__file__).parents[1]  # the same for every process, whatever folder it runs in
START_WITHIN = 30.0  # seconds
_POLL = 0.02  # seconds
_END: Steps = ((signal.SIGTERM, 5.0),)
_MAX_ACTIVE = 100_000  # generations per user: no worker runs while orders are measured


@dataclass
class Stack:
    """All that runs. `settings` are environment variables for our own programs."""

    servers: Servers
    folder: Path
    settings: Mapping[str, str]
    exits: AsyncExitStack
    _count: int = field(default=0)

    @property
    def database_url(self) -> str:
        """The database, as the login role."""
        return self.servers.database_url

    async def api(self) -> tuple[Process, int]:
        """Start an API process; return it and its port once it listens."""
        port = free_port()
        return await self._listening("-m", "tallyframe", "api", "--port", str(port), port=port), port

    async def bare(self) -> tuple[Process, int]:
        """Start the bare route; return its process and its port once it listens."""
        port = free_port()
        return await self._listening("-m", "bench.bare", str(port), port=port), port

    async def worker(self) -> Process:
        """Start a worker; return its process once it is ready."""
        process, log = await self._start("-m", "tallyframe", "worker", TALLYFRAME_LOG_LEVEL="info")
        until = monotonic() + START_WITHIN
        while "worker_started" not in log.read_text():
            await _pause(process, until, log)
        return process

    async def run(self, argv: Sequence[str], environment: Mapping[str, str]) -> str:
        """Run a program to its end and return its output. Raises RuntimeError with the output if it fails."""
        output = self.file("output")
        process = await self._launch(argv, {**_surroundings(), **environment}, output)
        if await process.wait():
            raise _failed(argv[0], output)
        return output.read_text()

    def file(self, name: str) -> Path:
        """Return a new file name."""
        self._count += 1
        return self.folder / f"{self._count}-{name}"

    async def _listening(self, *arguments: str, port: int) -> Process:
        process, log = await self._start(*arguments)
        until = monotonic() + START_WITHIN
        while True:
            with suppress(OSError):  # it doesn't listen yet
                _, writer = await asyncio.open_connection("127.0.0.1", port)
                writer.close()
                return process
            await _pause(process, until, log)

    async def _start(self, *arguments: str, **more: str) -> tuple[Process, Path]:
        log = self.file("output")
        environment = {**_surroundings(), **self.settings, **more}
        return await self._launch([sys.executable, *arguments], environment, log), log

    async def _launch(self, argv: Sequence[str], environment: Mapping[str, str], output: Path) -> Process:
        with output.open("wb") as file:
            process = await launch(Program(argv, environment, folder=self.folder, output=file.fileno()))
        self.exits.push_async_callback(end, process, _END, asyncio.Event())
        return process


@asynccontextmanager
async def stack(log_level: str) -> AsyncIterator[Stack]:
    """Run servers for the block: durable as in production, with a migrated database."""
    with tempfile.TemporaryDirectory(prefix="tallyframe-bench-") as name:
        folder = Path(name)
        async with servers(folder / "data", durable=True) as both:
            await asyncio.to_thread(migrate, both.database_url)
            async with AsyncExitStack() as exits:
                yield Stack(both, folder, _settings(both, folder, log_level), exits)


def _settings(both: Servers, folder: Path, log_level: str) -> dict[str, str]:
    ours = {
        "DATABASE_URL": both.database_url,
        "REDIS_URL": both.redis_url,
        "DATA_DIR": str(folder / "data"),
        "LOG_LEVEL": log_level,
        "MAX_ACTIVE_GENERATIONS": str(_MAX_ACTIVE),
        "IMAGE_PROVIDERS": "offline",
        "VIDEO_PROVIDERS": "offline",
    }
    return {f"TALLYFRAME_{name}": value for name, value in ours.items()}


def _surroundings() -> dict[str, str]:
    """Return our environment without settings of whoever runs this, and such that `bench` can be imported."""
    others = {name: value for name, value in os.environ.items() if not name.startswith(("TALLYFRAME_", "PG"))}
    return {**others, "PYTHONPATH": f"{ROOT}:{UNDER_TEST}"}


async def _pause(process: Process, until: float, log: Path) -> None:
    """Wait a moment for the process to serve. Raises RuntimeError if it has ended or time is up."""
    if process.returncode is not None or monotonic() > until:
        raise _failed("a process that should serve", log)
    await asyncio.sleep(_POLL)


def _failed(what: str, output: Path) -> RuntimeError:
    return RuntimeError(f"{what} failed:\n{output.read_text()[-2000:]}")


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
