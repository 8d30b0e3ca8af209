"""What it means that Postgres is away: which errors say so, and what callers get instead of them."""

import re

import sqlalchemy as sa
from asyncpg import exceptions as pg_errors
from sqlalchemy.exc import DBAPIError

from tallyframe.errors import Unavailable


def sqlstate(error: DBAPIError) -> str:
    """Return the five-character SQLSTATE of a database error, or an empty string."""
    return str(getattr(error.orig, "sqlstate", "") or "")


def constraint(error: DBAPIError) -> str:
    """Return the name of the constraint or unique index that refused a write, or an empty string."""
    return str(getattr(getattr(error.orig, "__cause__", None), "constraint_name", None) or "")


#: What asyncpg and SQLAlchemy raise when a connection is lost, refused or silent.
LOST = (
    pg_errors.PostgresConnectionError,
    pg_errors.InterfaceError,
    pg_errors.InternalClientError,
    pg_errors.CannotConnectNowError,
    pg_errors.AdminShutdownError,
    pg_errors.CrashShutdownError,
    pg_errors.TooManyConnectionsError,
    pg_errors.QueryCanceledError,
    OSError,
    TimeoutError,
    sa.exc.TimeoutError,
)

#: asyncpg's words for arguments that it can't send: one that doesn't fit its type, or too many. The line is fine.
_BAD_ARGUMENTS = re.compile(r"query argument|for this query")

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
        if error and (unavailable := as_unavailable(error)):
            raise unavailable from error


def as_unavailable(error: BaseException) -> Unavailable | None:
    """Return what callers get instead of an error that means that Postgres is away; None for any other."""
    if isinstance(error, DBAPIError):
        no_role = sqlstate(error) == _INVALID_PARAMETER and "tallyframe_" in str(error.orig)
        if no_role or sqlstate(error) == _UNDEFINED_TABLE:
            return NotMigrated()
    return Unavailable("The database can't be reached right now. Try again shortly.") if is_lost(error) else None


def is_lost(error: BaseException) -> bool:
    """Tell whether an error means that the database can't be reached."""
    if isinstance(error, DBAPIError):
        cause = getattr(error.orig, "__cause__", None)
        refused = sqlstate(error).startswith(_INVALID_AUTHORIZATION) or sqlstate(error) == _NO_SUCH_DATABASE
        return refused or error.connection_invalidated or (cause is not None and is_lost(cause))
    if isinstance(error, pg_errors.InterfaceError) and _BAD_ARGUMENTS.search(str(error)):
        return False
    return isinstance(error, LOST)
