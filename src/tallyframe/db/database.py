"""What is read and written in several statements, and writes that are tried again."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any, NewType, TypeVar

import asyncpg
import structlog
from sqlalchemy.ext.asyncio import AsyncConnection

from tallyframe.connecting import discard
from tallyframe.db.gathering import Gathering
from tallyframe.db.pool import Pool, ending, is_out_of_step
from tallyframe.db.statements import ForMany, Row
from tallyframe.errors import Unavailable
from tallyframe.servers.postgres_url import Address

#: A connection inside a transaction, and one that only reads: two types, so that they aren't mixed up.
Transaction = NewType("Transaction", AsyncConnection)
Reader = NewType("Reader", AsyncConnection)

log = structlog.get_logger()

T = TypeVar("T")


class Database(Pool):
    """A pool of connections to one database, all acting as one role."""

    def __init__(self, url: str | Address, **how: Any) -> None:  # noqa: ANN401  # as the pool has it
        super().__init__(url, **how)
        self._gatherings = dict[ForMany[Any], Gathering[Any]]()

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Begin; commit when the block ends, roll back when it raises. Raises Unavailable when Postgres is away."""
        async with self.turn(), self.line() as line:
            if self.user:  # it has begun
                yield Transaction(line.connection)
                return
            transaction = line.driver.transaction()  # asyncpg's, which cursors ask for
            await transaction.start()
            async with ending(line, transaction.commit, transaction.rollback):
                yield Transaction(line.connection)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        """Read, each statement with its own snapshot. Raises Unavailable when Postgres is away."""
        async with self.turn(), self.line() as line:
            yield Reader(line.connection)

    async def find_with_others(self, statement: ForMany[Row], **parameters: Any) -> Row | None:  # noqa: ANN401
        """Do as `find`, on a user's behalf in a round trip with others who ask for theirs at the same time."""
        if not self.user:
            return await self.find(statement.one, **parameters)
        gathering = self._gatherings.get(statement)
        if gathering is None:
            everybody = self.in_part(1)
            everybody.user = None
            gathering = self._gatherings[statement] = Gathering(everybody, statement)
        return await gathering.find(self.user, parameters)

    async def close(self) -> None:
        """Close all connections at once, also those in use."""
        await self._lines.close()


async def fetch_records(reader: Reader, sql: str, *parameters: Any) -> list[asyncpg.Record]:  # noqa: ANN401  # of any type
    """Return the rows of a query with parameters $1, $2 ... as asyncpg has them: for a great many rows.

    SQLAlchemy's rows take Python longer to make than asyncpg takes to read them. Raises asyncpg's errors.
    """
    driver = (await reader.get_raw_connection()).driver_connection
    if driver is None:
        raise asyncpg.InterfaceError("the connection is closed")
    try:
        records: list[asyncpg.Record] = await driver.fetch(sql, *parameters)
    except BaseException as error:
        if is_out_of_step(error) or driver.is_closed():  # as SQLAlchemy does with one of its own
            await discard(reader)
        raise
    return records


#: Seconds for which a write is tried again while the database is away, and between two tries.
RETRY_SECONDS = 60.0
RETRY_PAUSE = 0.5


async def retry_while_unavailable(write: Callable[[], Awaitable[T]]) -> T:
    """Do a write which knows by itself whether it still counts, again and again. Raises Unavailable after long."""
    until, is_told = monotonic() + RETRY_SECONDS, False
    while True:
        try:
            return await write()
        except Unavailable:
            if monotonic() > until:
                raise
            if not is_told:
                log.warning("write_interrupted")
            is_told = True
            await asyncio.sleep(RETRY_PAUSE)
