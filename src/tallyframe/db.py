"""The database: the engine, the naming convention, and the only code that commits.

`transaction()` for several statements that stand or fall together, `run()` for one statement that is its own
transaction (one round trip), `reading()` for reads. Lower functions take a `Transaction` or `Reader` and never commit.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any, NewType
from uuid import UUID

import sqlalchemy as sa
from asyncpg import exceptions as pg_errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.sql import Executable
from sqlalchemy.sql.dml import UpdateBase

from tallyframe.errors import Unavailable

#: The role that API and worker act as: it can't change the past. The login role must be a member of it.
APP_ROLE = "tallyframe_app"

metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    },
    schema=None,
)

#: A connection inside a transaction, and one that only reads: two types, so that they aren't mixed up.
Transaction = NewType("Transaction", AsyncConnection)
Reader = NewType("Reader", AsyncConnection)


def id_column(name: str = "id", *args: Any, **kwargs: Any) -> "sa.Column[UUID]":  # noqa: ANN401  # handed on as it is
    """Return a UUID column."""
    return sa.Column(name, sa.Uuid(), *args, **kwargs)


def time_column(name: str, *, nullable: bool = False, now: bool = False) -> "sa.Column[datetime]":
    """Return a timestamp-with-time-zone column; with `now`, filled by the database's clock."""
    default = sa.text("clock_timestamp()") if now else None
    return sa.Column(name, sa.TIMESTAMP(timezone=True), nullable=nullable, server_default=default)


def sqlalchemy_url(url: str) -> str:
    """Turn postgres://, postgresql:// or postgresql+asyncpg:// into what SQLAlchemy needs for asyncpg."""
    scheme, separator, rest = url.partition("://")
    if not separator or scheme.split("+")[0] not in {"postgres", "postgresql"}:
        raise ValueError("TALLYFRAME_DATABASE_URL: must start with postgresql://")
    return f"postgresql+asyncpg://{rest}"


def together(result: sa.Select[Any], *writes: UpdateBase) -> sa.Select[Any]:
    """Join writes of several packages into one statement, one round trip, that returns `result`."""
    return result.add_cte(*(write.cte(f"write_{number}") for number, write in enumerate(writes)))


def sqlstate(error: DBAPIError) -> str:
    """Return the five-character SQLSTATE of a database error, or an empty string."""
    return str(getattr(error.orig, "sqlstate", "") or "")


class Database:
    """A pool of connections to one database."""

    def __init__(self, url: str, *, pool_size: int, statement_timeout: float, role: str | None = APP_ROLE) -> None:
        """`statement_timeout` in seconds; `role` is what every connection acts as, None for the login role."""
        server_settings = {"application_name": "tallyframe", "statement_timeout": str(int(statement_timeout * 1000))}
        if role:
            server_settings["role"] = role
        self._engine: AsyncEngine = create_async_engine(
            sqlalchemy_url(url),
            pool_size=pool_size,
            max_overflow=0,
            pool_timeout=5,
            pool_pre_ping=False,
            hide_parameters=True,  # they hold prompts and hashes, and errors are logged
            connect_args={"server_settings": server_settings, "timeout": 5},
        )
        self._autocommit = self._engine.execution_options(isolation_level="AUTOCOMMIT")

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Begin; commit when the block ends, roll back when it raises. Raises Unavailable when Postgres is away."""
        with unavailable_when_lost():
            async with self._engine.begin() as connection:
                yield Transaction(connection)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[Reader]:
        """Read, each statement with its own snapshot. Raises Unavailable when Postgres is away."""
        with unavailable_when_lost():
            async with self._autocommit.connect() as connection:
                yield Reader(connection)

    async def run(
        self, statement: Executable, parameters: dict[str, Any] | None = None
    ) -> sa.CursorResult[*tuple[Any, ...]]:
        """Run one statement that is its own transaction, in one round trip, and return its buffered rows."""
        with unavailable_when_lost():
            async with self._autocommit.connect() as connection:
                return await connection.execute(statement, parameters)

    async def close(self) -> None:
        """Close all connections."""
        await self._engine.dispose()


_LOST = (
    pg_errors.PostgresConnectionError,
    pg_errors.InterfaceError,
    pg_errors.CannotConnectNowError,
    pg_errors.AdminShutdownError,
    pg_errors.CrashShutdownError,
    pg_errors.TooManyConnectionsError,
    pg_errors.QueryCanceledError,
    OSError,
    TimeoutError,
    sa.exc.TimeoutError,
)


#: Nothing has been migrated yet: no such table, no such role.
_UNDEFINED_TABLE, _INVALID_PARAMETER, _NO_SUCH_DATABASE = "42P01", "22023", "3D000"
#: The login is refused: class 28.
_INVALID_AUTHORIZATION = "28"


class NotMigrated(Unavailable):
    """The database has not been migrated."""


class unavailable_when_lost:  # noqa: N801  # used like a function
    """Context manager: turns a lost, refused or timed-out connection into Unavailable."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise Unavailable instead when the database is what failed."""
        if isinstance(error, DBAPIError) and _is_not_migrated(error):
            raise NotMigrated from error
        if error is not None and _is_lost(error):
            raise Unavailable("The database can't be reached right now. Try again shortly.") from error


def _is_lost(error: BaseException) -> bool:
    if isinstance(error, DBAPIError):
        cause = getattr(error.orig, "__cause__", None)
        refused = sqlstate(error).startswith(_INVALID_AUTHORIZATION) or sqlstate(error) == _NO_SUCH_DATABASE
        return refused or error.connection_invalidated or isinstance(cause, _LOST)
    return isinstance(error, _LOST)


def _is_not_migrated(error: DBAPIError) -> bool:
    no_role = sqlstate(error) == _INVALID_PARAMETER and APP_ROLE in str(error.orig)
    return no_role or sqlstate(error) == _UNDEFINED_TABLE
