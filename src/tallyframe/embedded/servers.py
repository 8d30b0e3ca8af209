"""Both servers together."""

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
    """A running PostgreSQL and a running Valkey."""

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
    """Run both servers for the block, with their data in `folder`, which is locked; raises EmbeddedError.

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

    Neither takes `avoid_port`. Once `hurry` is set, they end within a second or two, and Postgres may have to recover
    at its next start.
    """
    postgres = Postgres(folder, durable=durable, avoid_port=avoid_port, hurry=hurry)
    valkey = Valkey(folder, durable=durable, avoid_port=avoid_port, hurry=hurry)
    try:
        for failure in await asyncio.gather(postgres.start(), valkey.start(), return_exceptions=True):
            if failure is not None:
                raise failure
        yield Servers(postgres, valkey)
    finally:
        await valkey.stop()
        await postgres.stop()
