"""Both servers at once."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from tallyframe.embedded.lock import locked
from tallyframe.embedded.postgres import Postgres
from tallyframe.embedded.valkey import Valkey


@dataclass(frozen=True)
class Servers:
    """A PostgreSQL and a Valkey that run."""

    postgres: Postgres
    valkey: Valkey

    @property
    def database_url(self) -> str:
        """`postgresql://...`, password included."""
        return self.postgres.url

    @property
    def redis_url(self) -> str:
        """`redis://...`, password included."""
        return self.valkey.url


@asynccontextmanager
async def servers(folder: Path, *, durable: bool = False) -> AsyncIterator[Servers]:
    """Run both servers for the block, with their data in `folder`, which is locked meanwhile; raises EmbeddedError.

    `durable=False` is for tests: the data does not survive a power cut.
    """
    with locked(folder):
        async with running(folder, durable=durable) as both:
            yield both


@asynccontextmanager
async def running(
    folder: Path, *, durable: bool = True, avoid_port: int = 0, hurry: asyncio.Event | None = None
) -> AsyncIterator[Servers]:
    """Run both servers for the block, in a folder that the caller has locked; raises EmbeddedError.

    Neither takes `avoid_port`. Once `hurry` is set, the end takes a second or two, and Postgres recovers at its next
    start.
    """
    postgres = Postgres(folder, durable=durable, avoid_port=avoid_port, hurry=hurry)
    valkey = Valkey(folder, durable=durable, avoid_port=avoid_port, hurry=hurry)
    try:
        await _start(postgres, valkey)
        yield Servers(postgres, valkey)
    finally:
        await valkey.stop()
        await postgres.stop()


async def _start(*each: Postgres | Valkey) -> None:
    """Start them side by side; the first one's failure is raised once all have come to rest."""
    failures = await asyncio.gather(*(server.start() for server in each), return_exceptions=True)
    for failure in failures:
        if isinstance(failure, BaseException):
            raise failure
