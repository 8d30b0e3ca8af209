"""What it means that Postgres is away: which errors say so, and what callers get instead of them."""

import re

import sqlalchemy as sa
from asyncpg import exceptions as pg_errors
from sqlalchemy.exc import DBAPIError

from tallyframe.errors import Unavailable
from tallyframe.servers.postgres_url import PostgresUrl
from tallyframe.servers.words import causes, postgres_words

#: What Postgres says of a statement, as SQLAlchemy and as asyncpg raise it.
REFUSED = (DBAPIError, pg_errors.PostgresError)

#: What asyncpg, or JSON, says of a parameter that can't be sent.
UNFIT = (pg_errors.DataError, TypeError, ValueError, ArithmeticError)


def sqlstate(error: BaseException) -> str:
    """Return the five-character SQLSTATE of a database error, or an empty string."""
    return str(_told(error, "sqlstate"))


def constraint(error: BaseException) -> str:
    """Return the name of the constraint or unique index that refused a write, or an empty string."""
    return str(_told(error, "constraint_name"))


def detail(error: BaseException) -> str:
    """Return the DETAIL of a database error, or an empty string."""
    return str(_told(error, "detail"))


def _told(error: BaseException, what: str) -> object:
    """Return what Postgres tells with an error; SQLAlchemy wraps asyncpg's in two of its own."""
    original = getattr(error, "orig", None)
    told = getattr(error if original is None else original.__cause__, what, None)
    return told or getattr(original, what, None) or ""


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

#: Nothing has been migrated yet, or not by this version: no such table, no such function of a hot path, no such role.
_UNDEFINED_TABLE, _UNDEFINED_FUNCTION, _INVALID_PARAMETER = "42P01", "42883", "22023"
#: A statement took too long, or waited too long for a lock.
_QUERY_CANCELED, _LOCK_NOT_AVAILABLE = "57014", "55P03"
#: A standby, or a server that has been made read-only.
_READ_ONLY = "25006"
#: The disk is full or broken. Reading goes on, so only a write shows it.
_DISK_FULL, _IO_ERROR = "53100", "58030"
#: A transaction was ended because others were in its way (40), or it or its session was silent or open for too long.
_STATES_OF_THIS_SESSION_ALONE = ("40", "25P03", "25P04", "57P05", _QUERY_CANCELED, _LOCK_NOT_AVAILABLE)
#: The login is refused (28), or the database isn't there; a resource is lacking (53), such as room; an operator has
#: stopped something (57); files fail (58).
_STATES_OF_A_SERVER_IN_NEED = ("28", "3D000", "53", "57", "58", _READ_ONLY)
#: A pooler has given us another connection of its own, on which nobody has prepared the statement, or somebody else.
_STATES_OF_A_POOLER = ("26000", "42P05")
#: What the server says of settings that a connection asks for, while there is no statement yet: it doesn't know one
#: (42704), or doesn't grant one, such as a role (42501, 22023), or the database takes no connections (55000).
_STATES_OF_A_REFUSED_CONNECTION = ("08", "22", "42", "55000")


class DatabaseAway(Unavailable):
    """The database can't be reached right now. Try again shortly."""

    def __init__(self, error: BaseException, url: PostgresUrl | None = None) -> None:
        self.refuses_writes = _state_of(error) in {_READ_ONLY, _DISK_FULL, _IO_ERROR}
        if self.refuses_writes:
            super().__init__("The database can't store anything right now. Try again shortly.", retry_after=10)
        else:
            super().__init__()
        self._error, self._url = error, url

    @property
    def words(self) -> str:
        """One line for operators, which starts with the name of the variable; not for users."""
        return postgres_words(self._error, self._url)


class NotMigrated(DatabaseAway):
    """The database has not been migrated."""


class unavailable_when_lost:  # noqa: N801  # used like a function
    """Context manager: turns a lost, refused or timed-out connection into Unavailable."""

    def __enter__(self) -> None:
        """Nothing to prepare."""

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Raise Unavailable instead when the database is what failed."""
        if error and (unavailable := as_unavailable(error)):
            raise unavailable from error


def as_unavailable(error: BaseException, url: PostgresUrl | None = None) -> DatabaseAway | None:
    """Return what callers get instead of an error that means that Postgres is away; None for any other."""
    if isinstance(error, Unavailable):  # of another pool, which has told of it
        return None
    no_role = _state_of(error) == _INVALID_PARAMETER and any("tallyframe_" in str(each) for each in causes(error))
    if no_role or (isinstance(error, REFUSED) and _is_missing(error)):
        return NotMigrated(error, url)
    return DatabaseAway(error, url) if is_lost(error) else None


def _is_missing(error: BaseException) -> bool:
    state = sqlstate(error)
    return state == _UNDEFINED_TABLE or (state == _UNDEFINED_FUNCTION and "function hot." in str(error))


def is_lost(error: BaseException) -> bool:
    """Tell whether an error means that the database can't be reached, or can't do its work."""
    if isinstance(error, pg_errors.InterfaceError) and _BAD_ARGUMENTS.search(str(error)):
        return False
    if isinstance(error, LOST) or _state_of(error).startswith(
        (*_STATES_OF_A_SERVER_IN_NEED, *_STATES_OF_THIS_SESSION_ALONE, *_STATES_OF_A_POOLER)
    ):
        return True
    if isinstance(error, DBAPIError):
        if error.statement is None and _state_of(error).startswith(_STATES_OF_A_REFUSED_CONNECTION):
            return True
        cause = getattr(error.orig, "__cause__", None)
        return error.connection_invalidated or (cause is not None and is_lost(cause))
    return False


def is_slow(error: BaseException) -> bool:
    """Tell whether it is only this statement or session that took too long, or gave way: the server itself is there."""
    return _state_of(error).startswith(_STATES_OF_THIS_SESSION_ALONE)


def _state_of(error: BaseException) -> str:
    """Return the SQLSTATE of the error, or of what it was made from; "" if there is none."""
    return next((str(state) for each in causes(error) if (state := getattr(each, "sqlstate", None))), "")
