"""A pool of connections to one database: who gets one and when, which are kept, and statements that need one alone."""

import asyncio
import copy
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any, Self, TypeVar
from uuid import UUID
from weakref import WeakSet

import sqlalchemy as sa
from asyncpg import exceptions as pg_errors
from cachetools import LRUCache
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine
from sqlalchemy.sql import Executable

from tallyframe.connecting import check_of, discard, make_engine, session_settings
from tallyframe.db.statements import USER_SETTING, Row, Statement
from tallyframe.lost import LOST, DatabaseAway, as_unavailable, is_slow
from tallyframe.servers.outage import Outage
from tallyframe.servers.postgres_url import Address, PostgresUrl, parse_postgres_url

T = TypeVar("T")
#: How a transaction ends.
End = Callable[[], Awaitable[object]]

#: Users of whom is known how many connections they hold; seconds that one waits for a connection while all are in use.
MOST_SCOPED, QUEUE_PATIENCE = 10_000, 5.0

#: Seconds that an answer may take beyond the statement's own limit, which the server keeps while it can be heard.
LINE_PATIENCE = 2.0
#: Seconds for which a connection is unused until it must answer before it is used again, and that it has for that.
UNASKED, ANSWER_TIMEOUT = 0.25, 5.0


@dataclass(slots=True, eq=False)
class Line:
    """A connection: SQLAlchemy's, in autocommit, and asyncpg's own beneath it, which has no types."""

    connection: AsyncConnection
    driver: Any
    must_write: bool
    unused_since: float = 0.0

    @property
    def is_good(self) -> bool:
        """Whether it can be used again. One that can't write stays so when others can; Postgres tells by itself."""
        if self.connection.invalidated or self.driver.is_closed():
            return False
        told = self.driver.get_settings()
        refuses = {getattr(told, "default_transaction_read_only", ""), getattr(told, "in_hot_standby", "")}
        return not self.must_write or "on" not in refuses


class Lines:
    """Connections of one engine. Who takes one has it alone; how many there are is up to those who take."""

    def __init__(self, engine: AsyncEngine, url: PostgresUrl, role: str, *, asked_after: float, most: int) -> None:
        """A connection must answer before it is used if it was unused for `asked_after` seconds. `most`: at once."""
        self._engine, self._must_write, self._check = engine, url.must_write, check_of(role)
        self._asked_after = asked_after
        self._most = most
        self._idle: list[Line] = []  # the last one put back is the next that is taken
        self._open: WeakSet[Any] = WeakSet()  # asyncpg's own connections
        self._is_closed = False

    async def take(self) -> Line:
        """Return a connection that nobody uses; it must be put back, or ended."""
        while self._idle:
            line = self._idle.pop()
            is_asked = monotonic() - line.unused_since > self._asked_after
            if not line.driver.is_closed() and (not is_asked or await self._answers(line)):
                return line
            await self.end(line)  # Postgres has closed it, or a firewall
        connection = await self._engine.connect()
        driver = connection.sync_connection.connection.driver_connection  # type: ignore[union-attr]  # it is connected
        self._open.add(driver)
        line = Line(connection, driver, self._must_write)
        try:
            await line.driver.execute(self._check, timeout=ANSWER_TIMEOUT)
        except BaseException:
            await self.end(line)
            raise
        return line

    async def ask(self, ask: Callable[[Line], Awaitable[T]]) -> tuple[Line, T]:
        """Return a connection and its answer. Connections that died while they waited cost nobody an error.

        They may have died after they had done what was asked. So it must be such that doing it again does no harm.
        """
        for number in range(self._most + 1):
            line = await self.take()
            try:
                return line, await ask(line)
            except BaseException as error:
                await self.put_back(line, error)
                if number == self._most or not isinstance(error, LOST) or isinstance(error, _ANSWERS):
                    raise
        raise AssertionError  # there is at least one connection

    async def put_back(self, line: Line, error: BaseException | None = None) -> None:
        """Keep the connection for others, unless the `error` has left it in a state that nobody knows."""
        if self._is_closed or is_out_of_step(error) or not line.is_good:
            await self.end(line)
        else:
            line.unused_since = monotonic()
            self._idle.append(line)

    async def end(self, line: Line) -> None:
        """Close the connection, at once."""
        await discard(line.connection)
        await line.connection.close()

    async def close(self) -> None:
        """Close all connections at once, also those in use: SQLAlchemy waits for one after the other."""
        self._is_closed = True
        await asyncio.gather(*(driver.close(timeout=LINE_PATIENCE) for driver in self._open), return_exceptions=True)
        while self._idle:
            await self.end(self._idle.pop())
        await self._engine.dispose()

    @asynccontextmanager
    async def using(self, line: Line) -> AsyncIterator[None]:
        """Put the connection back after the block."""
        try:
            yield
        except BaseException as error:
            await self.put_back(line, error)
            raise
        await self.put_back(line)

    async def _answers(self, line: Line) -> bool:
        try:
            await line.driver.execute("SELECT 1", timeout=ANSWER_TIMEOUT)
        except LOST:
            return False
        except BaseException:  # we are being canceled
            await self.end(line)
            raise
        return True


def is_out_of_step(error: BaseException | None) -> bool:
    """Tell whether nobody knows what comes over a connection: after a timeout, a cancellation, or asyncpg's own bug."""
    return error is not None and (isinstance(error, _OUT_OF_STEP) or not isinstance(error, Exception))


_OUT_OF_STEP = (TimeoutError, pg_errors.InternalClientError)
#: Errors of LOST after which asking others makes no sense: they may not answer in time, either.
_ANSWERS = (TimeoutError, pg_errors.QueryCanceledError)


class Pool:
    """A pool of connections to one database, all acting as one role."""

    def __init__(
        self,
        url: str | Address,
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
        for who can't try again. Others are asked if they were unused for a moment. Raises ValueError for a bad URL.
        """
        self.url = parse_postgres_url(url, role)
        self.outage = outage or Outage("postgres")
        self._pool_size = pool_size
        self.user: UUID | None = None
        # Semaphores serve in turn.
        self._places, self._share = asyncio.Semaphore(pool_size), asyncio.Semaphore(pool_size)
        # One user may hold a third of the pool: others get on while that user's requests wait for a lock.
        self._scoped: LRUCache[UUID, Self] = LRUCache(MOST_SCOPED)
        engine = make_engine(
            self.url,
            session_settings(self.url, role, statement_timeout, lock_patience or statement_timeout),
            command_timeout=statement_timeout + LINE_PATIENCE,
            isolation_level="AUTOCOMMIT",  # transactions are begun past SQLAlchemy
            hide_parameters=True,  # they hold prompts and hashes, and errors are logged
        )
        self._lines = Lines(engine, self.url, role, asked_after=0.0 if is_asked_first else UNASKED, most=pool_size)

    def as_user(self, user_id: UUID) -> Self:
        """Return this database as that user may see and change it, on the same connections."""
        scoped = self._scoped.get(user_id)
        if scoped is None:
            scoped = self._scoped[user_id] = self.in_part(3)
            scoped.user = user_id  # our own
        return scoped

    def in_part(self, share: int) -> Self:
        """Return this database for work that holds one in so many connections at most, whatever it waits for."""
        part = copy.copy(self)
        part._share = asyncio.Semaphore(max(1, self._pool_size // share))  # noqa: SLF001  # our own
        return part

    async def run(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> sa.CursorResult[*tuple[Any, ...]]:
        """Run one statement that is its own transaction and return its buffered rows.

        One round trip; three on behalf of a user. Raises Unavailable when Postgres is away.
        """
        async with self.turn(), self.line() as line:
            return await line.connection.execute(statement, parameters)

    async def find(self, statement: Statement[Row], **parameters: Any) -> Row | None:  # noqa: ANN401  # of any type
        """Do as `call`; return the only row, if there is one."""
        return next(iter(await self.call(statement, **parameters)), None)

    async def call(self, statement: Statement[Row], **parameters: Any) -> list[Row]:  # noqa: ANN401  # of any type
        """Run a statement of a hot path, which is its own transaction, in one round trip; return its rows.

        It is run again where a connection was lost, and nobody knows whether it was run. So it must be such that this
        does no harm. Raises asyncpg's PostgresError, and Unavailable when Postgres is away.
        """
        arguments = [encode(parameters[name]) if encode else parameters[name] for name, encode in statement.encoders]
        sql = statement.sql
        if self.user:
            sql, arguments = statement.call, [*arguments, self.user]
        async with self.turn():
            line, records = await self._lines.ask(lambda line: line.driver.fetch(sql, *arguments))
            await self._lines.put_back(line)
        return [statement.row(**dict(record)) for record in records]

    @asynccontextmanager
    async def turn(self) -> AsyncIterator[None]:
        """Wait for one's turn to use a connection. Raises Unavailable when Postgres is away."""
        await self._take_place()
        try:
            yield
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
        if not (self._share.locked() or self._places.locked()):  # the usual case, for which no timer is needed
            await self._share.acquire()
            await self._places.acquire()
            return
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
    async def line(self) -> AsyncIterator[Line]:
        """Yield a connection; on a user's behalf, in a transaction in which only that user's rows are there."""
        if not self.user:
            line = await self._lines.take()
            async with self._lines.using(line):
                yield line
            return
        # One trip, past SQLAlchemy, which would make three of it. The id is a UUID, so it can't inject.
        begin = f"BEGIN; SELECT set_config('{USER_SETTING}', '{self.user}', true)"
        line, _ = await self._lines.ask(lambda line: line.driver.execute(begin))
        end = line.driver.execute
        async with self._lines.using(line), ending(line, partial(end, "COMMIT"), partial(end, "ROLLBACK")):
            yield line


@asynccontextmanager
async def ending(line: Line, commit: End, roll_back: End) -> AsyncIterator[None]:
    """Commit after the block, or roll back on an error."""
    try:
        yield
        await commit()
    except Exception as error:
        try:
            if not (is_out_of_step(error) or line.connection.invalidated or line.driver.is_closed()):
                await roll_back()
        except LOST:
            line.driver.terminate()
        raise
