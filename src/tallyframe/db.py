"""The database: pools of connections, and the only code that commits.

`transaction()` for several statements that stand or fall together, `run()` for one statement that is its own
transaction (one round trip), `reading()` for reads. Lower functions take a `Transaction` or `Reader` and never commit.
`as_user(user)` gives the same database with only that user's rows in it.
"""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from time import monotonic
from typing import Any, NewType, TypeVar
from uuid import UUID
from weakref import WeakSet, WeakValueDictionary

import sqlalchemy as sa
import structlog
from asyncpg import exceptions as pg_errors
from sqlalchemy.dialects import postgresql
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.pool import ConnectionPoolEntry
from sqlalchemy.sql import Executable
from sqlalchemy.sql.dml import UpdateBase
from sqlalchemy.util import await_only

from tallyframe.connecting import discard, make_engine, session_settings
from tallyframe.errors import Unavailable
from tallyframe.lost import LOST, DatabaseAway, as_unavailable, is_slow
from tallyframe.servers.outage import Outage
from tallyframe.servers.postgres_url import parse_postgres_url

log = structlog.get_logger()

#: Who a process acts as; the login role must be a member. None can change the past. What each may do, and which rows
#: it sees, is in the migrations: the API only those of the user it acts for, the others everybody's.
API_ROLE, WORKER_ROLE, ADMIN_ROLE = "tallyframe_api", "tallyframe_worker", "tallyframe_admin"
#: Who a worker acts as while it applies webhooks: what their sources may change, and nothing else.
WEBHOOKS_ROLE = "tallyframe_webhooks"

#: A connection inside a transaction, and one that only reads: two types, so that they aren't mixed up.
Transaction = NewType("Transaction", AsyncConnection)
Reader = NewType("Reader", AsyncConnection)


def with_writes(result: sa.Select[Any], *writes: UpdateBase) -> sa.Select[Any]:
    """Join writes of several packages into one statement, one round trip, that returns `result`."""
    return result.add_cte(*(write.cte(f"write_{number}") for number, write in enumerate(writes)))


def insert_per_row(
    table: sa.Table,
    source: sa.FromClause,
    /,
    *conditions: "sa.ColumnElement[bool]",
    **values: Any,  # noqa: ANN401  # column expressions and constants
) -> postgresql.Insert:
    """Return the insert of one row into `table` for each row of `source` that meets the conditions.

    `values` are by the names of the table's columns: column expressions, or constants of the column's type.
    """
    columns = [
        value if isinstance(value, sa.ColumnElement) else sa.literal(value, table.c[name].type)
        for name, value in values.items()
    ]
    rows = sa.select(*columns).select_from(source).where(*conditions)
    return postgresql.insert(table).from_select(list(values), rows)


class Database:
    """A pool of connections to one database, all acting as one role."""

    def __init__(
        self,
        url: str,
        *,
        role: str,
        pool_size: int,
        statement_timeout: float,
        lock_patience: float | None = None,
        outage: Outage | None = None,
        is_asked_first: bool = False,
    ) -> None:
        """`statement_timeout` and, for locks alone, `lock_patience` in seconds. A silent line is given up a bit later.

        And so is one by the server, in the middle of a transaction: else its locks stay for hours when a client is
        cut off before its COMMIT. `outage` hears when Postgres goes and comes back. With `is_asked_first`, each
        connection must answer before it is used, which costs a round trip, so that one that has died costs no error:
        for who can't try again (those that act for a user are asked anyway). Other roles than the API's are asked if
        they were unused for a moment. Raises ValueError for a bad URL.
        """
        self.url = parse_postgres_url(url)
        self.outage = outage or Outage("postgres")
        self._pool_size = pool_size
        self._user: UUID | None = None
        # SQLAlchemy's pool lets a newcomer overtake those that wait; this semaphore doesn't.
        self._places, self._share = asyncio.Semaphore(pool_size), asyncio.Semaphore(pool_size)
        # One user may hold a third of the pool: others get on while that user's requests wait for a lock.
        self._shares: WeakValueDictionary[UUID, asyncio.Semaphore] = WeakValueDictionary()
        self._engine = make_engine(
            self.url,
            session_settings(role, statement_timeout, lock_patience or statement_timeout),
            command_timeout=statement_timeout + LINE_PATIENCE,
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=QUEUE_PATIENCE,
            pool_pre_ping=is_asked_first,
            hide_parameters=True,  # they hold prompts and hashes, and errors are logged
        )
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")
        self._open: WeakSet[Any] = WeakSet()  # asyncpg's own connections
        sa.event.listen(self._engine.sync_engine, "connect", lambda new, _: self._open.add(new.driver_connection))
        sa.event.listen(self._engine.sync_engine, "checkin", _put_back)
        asks = role != API_ROLE and not is_asked_first
        sa.event.listen(self._engine.sync_engine, "checkout", lambda new, record, _: _look_at(new, record, asks=asks))

    def as_user(self, user_id: UUID) -> "Database":
        """Return this database as that user may see and change it, on the same connections."""
        scoped = self.in_part(3)
        scoped._user, scoped._share = user_id, self._shares.setdefault(user_id, scoped._share)  # noqa: SLF001  # our own
        return scoped

    def in_part(self, share: int) -> "Database":
        """Return this database for work that holds one in so many connections at most, whatever it waits for."""
        part = copy.copy(self)
        part._share = asyncio.Semaphore(max(1, self._pool_size // share))  # noqa: SLF001  # our own
        return part

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Begin; commit when the block ends, roll back when it raises. Raises Unavailable when Postgres is away."""
        async with self._connected(self._engine.begin) as connection:
            yield Transaction(connection)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        """Read, each statement with its own snapshot. Raises Unavailable when Postgres is away."""
        async with self._connected(self._autocommit.connect) as connection:
            yield Reader(connection)

    async def run(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> sa.CursorResult[*tuple[Any, ...]]:
        """Run one statement that is its own transaction and return its buffered rows.

        One round trip; three on behalf of a user. Raises Unavailable when Postgres is away.
        """
        async with self._connected(self._autocommit.connect) as connection:
            return await connection.execute(statement, parameters)

    @asynccontextmanager
    async def _connected(
        self, on_nobodys_behalf: Callable[[], AbstractAsyncContextManager[AsyncConnection]]
    ) -> AsyncIterator[AsyncConnection]:
        """Yield, in turn, a connection for the user or else the given one. Raises Unavailable when Postgres is away."""
        await self._take_place()
        try:
            async with (
                self._acting() if self._user else on_nobodys_behalf() as connection,
                invalidate_on_timeout(connection),
            ):
                yield connection
            if self.outage.is_on:
                self.outage.over()
        except Exception as error:
            if unavailable := as_unavailable(error, self.url):
                if not is_slow(error):
                    self.outage.note(unavailable.words, refuses_writes=unavailable.refuses_writes)
                raise unavailable from error
            raise
        finally:
            self._places.release()
            self._share.release()

    async def _take_place(self) -> None:
        """Wait for one's turn. Raises DatabaseAway when all connections are in use, or all that this user may have."""
        try:
            async with asyncio.timeout(QUEUE_PATIENCE):
                await self._share.acquire()
                try:
                    await self._places.acquire()
                except BaseException:
                    self._share.release()
                    raise
        except TimeoutError as error:  # wherever the database is
            raise DatabaseAway(error, self.url) from error

    @asynccontextmanager
    async def _acting(self) -> AsyncIterator[AsyncConnection]:
        """Begin a transaction in which only the user's rows are there; commit it, or roll it back on an error."""
        connection = await self._begun()
        try:
            yield connection
            await _driver(connection).execute("COMMIT")
        except Exception:
            try:
                if not connection.invalidated:
                    await _driver(connection).execute("ROLLBACK")
            except LOST:
                await discard(connection)
            raise
        except BaseException:  # we are being cancelled: nobody can say what state the connection is in
            await discard(connection)
            raise
        finally:
            await connection.close()

    async def _begun(self) -> AsyncConnection:
        """Begin on a connection that is alive; those that died while they waited cost nobody an error."""
        for number in range(self._pool_size + 1):
            connection = await self._autocommit.connect()
            try:
                # One trip, past SQLAlchemy, which would make three of it. The id is a UUID, so it can't inject.
                await _driver(connection).execute(f"BEGIN; SELECT set_config('{USER_SETTING}', '{self._user}', true)")
            except BaseException as error:
                await discard(connection)
                await connection.close()
                # This connection gives no answer, and others may not either: so they are closed all at once.
                if isinstance(error, TimeoutError) or not isinstance(error, LOST) or number == self._pool_size:
                    raise
            else:
                return connection
        raise AssertionError  # there is at least one connection

    async def close(self) -> None:
        """Close all connections at once, also those in use: SQLAlchemy waits for one after the other."""
        await asyncio.gather(*(line.close(timeout=LINE_PATIENCE) for line in self._open), return_exceptions=True)
        await self._engine.dispose()


#: Seconds that one waits for a connection while all are in use.
QUEUE_PATIENCE = 5.0

#: Seconds that an answer may take beyond the statement's own limit, which the server keeps while it can be heard.
LINE_PATIENCE = 2.0

#: Seconds for which a connection is unused until it must answer before it is used again, and that it has for that.
UNASKED, ANSWER_TIMEOUT = 0.25, 5.0

#: Whose rows a transaction of the API sees. Local to the transaction, so that it can't leak to the next one.
USER_SETTING = "tallyframe.user_id"


@asynccontextmanager
async def invalidate_on_timeout(connection: AsyncConnection) -> AsyncIterator[None]:
    """Throw the connection away when an answer has not come in time: nobody knows what is still on its way.

    Also when asyncpg has lost its place, as when the server dies in an answer. SQLAlchemy sees an end in neither.
    """
    try:
        yield
    except (TimeoutError, pg_errors.InternalClientError):
        await discard(connection)
        raise


def _driver(connection: AsyncConnection) -> Any:  # noqa: ANN401  # asyncpg has no types
    """Return asyncpg's own connection."""
    return connection.sync_connection.connection.driver_connection  # type: ignore[union-attr]  # it is connected


def _put_back(connection: Any, record: ConnectionPoolEntry) -> None:  # noqa: ANN401  # SQLAlchemy's
    """Keep no session that can't write, which Postgres tells by itself (from 14 on): it stays so when others can."""
    record.info["unused_since"] = monotonic()
    told = connection.driver_connection.get_settings() if connection and record.driver_connection else None
    if "on" in {getattr(told, name, "") for name in ("default_transaction_read_only", "in_hot_standby")}:
        record.invalidate(soft=True)


def _look_at(connection: Any, record: ConnectionPoolEntry, *, asks: bool) -> None:  # noqa: ANN401  # SQLAlchemy's
    """Have SQLAlchemy replace a connection that Postgres or, if one `asks`, a firewall has closed meanwhile."""
    try:
        if connection.driver_connection.is_closed():
            raise DisconnectionError
        if asks and monotonic() - record.info.get("unused_since", monotonic()) > UNASKED:
            await_only(connection.driver_connection.execute("SELECT 1", timeout=ANSWER_TIMEOUT))
    except LOST as error:
        raise DisconnectionError from error


T = TypeVar("T")
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
