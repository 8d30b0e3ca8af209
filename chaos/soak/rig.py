"""The processes of a soak: servers, one API process, and workers that get SIGTERM again and again."""

import asyncio
import random
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from chaos.children import Child
from chaos.stack import UNDER_TEST, run_command, serves, surroundings
from tallyframe.embedded import Servers, servers
from tallyframe.embedded.ports import LOOPBACK, choose
from tallyframe.migrate import migrate

API = "api"
_MAX_ACTIVE = 50  # generations of one user, so that the queue is neither empty nor endless


@dataclass
class Rig:
    """All that runs. `grace` is the seconds that a stopping worker may take (TALLYFRAME_SHUTDOWN_GRACE)."""

    folder: Path
    servers: Servers
    grace: float
    url: str
    children: dict[str, Child] = field(default_factory=dict)

    @property
    def workers(self) -> list[Child]:
        """The workers."""
        return [child for name, child in self.children.items() if name != API]

    @property
    def media(self) -> Path:
        """The folder of media."""
        return self.folder / "data" / "media"

    def exits(self) -> list[float]:
        """Return how many seconds each worker took to end after SIGTERM."""
        return [seconds for worker in self.workers for seconds in worker.ended_after]

    async def restart_workers(self, every: float) -> None:
        """Send each worker SIGTERM every so many seconds, one after the other, unless it ends already."""
        while True:
            for worker in self.workers:
                await asyncio.sleep(every / len(self.workers))
                if await worker.is_up() and not worker.is_ending:
                    worker.signal(signal.SIGTERM)

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command of Tallyframe; return its exit code and its output."""
        return await run_command(self.folder, self.settings(), *arguments)

    def settings(self) -> dict[str, str]:
        """Return the environment of a Tallyframe process: the defaults, small pictures, the offline provider."""
        ours = {
            "DATABASE_URL": self.servers.database_url,
            "REDIS_URL": self.servers.redis_url,
            "DATA_DIR": self.folder / "data",
            "IMAGE_PROVIDERS": "offline",
            "VIDEO_PROVIDERS": "offline",
            "IMAGE_SIZE": "512",
            "MAX_ACTIVE_GENERATIONS": _MAX_ACTIVE,
            "SHUTDOWN_GRACE": self.grace,
        }
        return {f"TALLYFRAME_{name}": str(value) for name, value in ours.items()}


@asynccontextmanager
async def rig(folder: Path, *, workers: int, grace: float) -> AsyncIterator[Rig]:
    """Run all of it for the block, and end it afterwards. Raises RuntimeError if a process does not start."""
    async with AsyncExitStack() as exits:
        both = await exits.enter_async_context(servers(folder / "data", durable=True))
        await asyncio.to_thread(migrate, both.database_url)
        port = choose(0, 0)
        built = Rig(folder, both, grace, f"http://{LOOPBACK}:{port}")
        _add(built, API, ["api", "--port", str(port)])
        for number in range(1, workers + 1):
            _add(built, f"worker-{number}", ["worker"])
        everybody = list(built.children.values())
        exits.push_async_callback(lambda: asyncio.gather(*(child.stop() for child in everybody)))
        for child in everybody:
            await child.start()
        await asyncio.gather(*(child.until_up() for child in everybody))
        yield built


def _add(built: Rig, name: str, command: list[str]) -> None:
    environment = {**surroundings(), "PYTHONPATH": str(UNDER_TEST), **built.settings()}
    argv = [sys.executable, "-m", "tallyframe", *command]

    async def is_up() -> bool:
        return await serves(built.children[name], built.url if name == API else "")

    built.children[name] = Child(name, argv, environment, built.folder, random.Random(name), is_up)
