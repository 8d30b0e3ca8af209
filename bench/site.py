"""An installation of its own: a migrated database, a Redis of its own number, and the product's processes."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import asyncpg

from bench.notes import NOTES
from bench.stack import Child, Stack, free_port
from tallyframe.migrate import migrate
from tallyframe.outbox.relay import connect

MAX_ACTIVE = 100_000  # generations per user: no worker runs while orders are measured
_numbers = count()  # of Redis databases, of which Valkey has 16

#: In bulk: the product's own way, one by one, would take longer than the measurements.
_END = """
    UPDATE generations SET status = 'canceled', step = 'completed', finished_at = clock_timestamp(),
           lease_until = NULL, error_code = 'canceled', error_message = 'The benchmark has moved on.'
    WHERE status IN ('pending', 'processing');
    UPDATE projects SET status = 'canceled' WHERE status IN ('pending', 'processing');
    DELETE FROM outbox;
"""


@dataclass(frozen=True)
class Site:
    """One installation on the benchmark's servers."""

    stack: Stack
    name: str
    database_url: str
    redis_url: str

    @asynccontextmanager
    async def api(self, **settings: str) -> AsyncIterator[Child]:
        """Run an API process for the block; `settings` as variables without TALLYFRAME_."""
        port = free_port()
        argv = [sys.executable, "-m", "tallyframe", "api", "--port", str(port)]
        async with self.stack.serving(argv, self.environment(settings), port) as child:
            yield child

    @asynccontextmanager
    async def worker(self, notes: Path | None = None, **settings: str) -> AsyncIterator[Child]:
        """Run a worker for the block, whose vendor is the benchmark's own; see `bench/worker.py`."""
        environment = self.environment(settings) | ({NOTES: str(notes)} if notes else {})
        async with self.stack.telling([sys.executable, "-m", "bench.worker"], environment, "worker_started") as child:
            yield child

    def environment(self, settings: dict[str, str]) -> dict[str, str]:
        """Return the settings of a process as variables: all are defaults, but for these."""
        ours = {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "DATA_DIR": str(self.stack.folder / "data"),
            "MAX_ACTIVE_GENERATIONS": str(MAX_ACTIVE),
            "IMAGE_PROVIDERS": "offline",
            "VIDEO_PROVIDERS": "offline",
            **settings,
        }
        return {f"TALLYFRAME_{name}": value for name, value in ours.items()}

    @asynccontextmanager
    async def owner(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        """Connect as the owner of the database for the block."""
        connection = await asyncpg.connect(self.database_url, command_timeout=600)
        try:
            yield connection
        finally:
            await connection.close()

    async def clear(self) -> None:
        """End all generations, so that the next measurement starts with an idle, vacuumed, checkpointed database."""
        async with self.owner() as owner:
            await owner.execute(_END)
            for statement in ("VACUUM ANALYZE", "CHECKPOINT"):
                await owner.execute(statement)
        await self.empty_redis()

    async def empty_redis(self) -> None:
        """Remove all keys of this site."""
        redis = connect(self.redis_url)
        await redis.flushdb()
        await redis.aclose(close_connection_pool=True)


async def open_site(stack: Stack, name: str) -> Site:
    """Make and migrate a database of that name."""
    owner = await asyncpg.connect(stack.servers.database_url)
    try:
        await owner.execute(f"CREATE DATABASE {name}")
    finally:
        await owner.close()
    url = urlunsplit(urlsplit(stack.servers.database_url)._replace(path=f"/{name}"))
    await asyncio.to_thread(migrate, url)
    redis = urlunsplit(urlsplit(stack.servers.redis_url)._replace(path=f"/{next(_numbers)}"))
    return Site(stack, name, url, redis)


async def close_site(site: Site) -> None:
    """Remove the database: the disk is needed by the next one."""
    owner = await asyncpg.connect(site.stack.servers.database_url)
    try:
        await owner.execute(f"DROP DATABASE {site.name} WITH (FORCE)")
    finally:
        await owner.close()
