"""Guards the processes at work while a migration changes their tables: it waits for no lock for long."""

import random
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

import sqlalchemy as sa
from alembic import context, op
from sqlalchemy.exc import DBAPIError

from tallyframe.errors import Unavailable
from tallyframe.lost import sqlstate

LOCK_TIMEOUT = "5s"  # for locks on anything but our tables: a migration fails that can't get one
IDLE_TIMEOUT = "60s"  # and one that is cut off from the database gives its locks back

#: Seconds for the first table, while nothing is held: more than `deadlock_timeout`, so that an autovacuum makes way.
FIRST_TIMEOUT = 1.5
#: Seconds within which it must come for us to go on: who has queued up behind us may hold other tables, and Postgres
#: looks for a deadlock when that one has waited for `deadlock_timeout` (1 s).
SOON = 0.4
#: Seconds for all others together. With `SOON`, less than `deadlock_timeout`, see `lock_tables`.
OTHERS_TIMEOUT = 0.5
PATIENCE = 60.0  # seconds for which it is tried again
#: Seconds between two tries, in which the traffic that has queued up behind us goes on.
PAUSES = (0.2, 0.6)

_QUERY_CANCELED = "57014"

#: Who has had one of the tables for long enough to have it longer. An autovacuum makes way when we wait for it.
_BLOCKERS = """
    SELECT l.relation::regclass::text AS table, format('process %s (%s, %s)', a.pid, a.application_name, a.state) AS who
    FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.granted AND l.database = a.datid
    WHERE l.relation = ANY (CAST(CAST(:tables AS text[]) AS regclass[])) AND a.pid <> pg_backend_pid()
      AND a.backend_type <> 'autovacuum worker' AND a.xact_start < clock_timestamp() - interval '0.5 seconds'
    ORDER BY a.xact_start LIMIT 1"""

#: Settings of the whole session: Postgres ends it within a minute if whoever migrates is cut off, whatever it is doing.
SESSION = {
    "idle_in_transaction_session_timeout": IDLE_TIMEOUT,
    "tcp_keepalives_idle": "20",  # seconds, as the next one
    "tcp_keepalives_interval": "10",
    "tcp_keepalives_count": "3",
}


class _TooLate(Exception):
    """The first table came so late that somebody who waits for it may be looking for a deadlock."""


def limit_waits(connection: sa.Connection) -> None:
    """Limit how long the transaction that has just begun waits for a lock. Its commit ends that.

    Not for the whole session: to make an index concurrently is to wait for locks.
    """
    connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
    # A migration that row-level security would keep from rows fails, and doesn't silently change only some.
    connection.execute(sa.text("SET LOCAL row_security = off"))


@contextmanager
def outside_transaction() -> Iterator[sa.Connection]:
    """Commit, run a block of a migration statement by statement, and begin a transaction with the same limits.

    For what takes long while all others work on. The migration must be able to run again: cut off in the block, or
    later, the database stays at the revision before.
    """
    with op.get_context().autocommit_block():
        yield op.get_bind()
    limit_waits(op.get_bind())


def begin_locking(*tables: str) -> None:
    """Commit, and begin a transaction that has these tables to itself: all that it changes, or waits for.

    Raises Unavailable when they are in use for too long.
    """
    with outside_transaction():
        pass  # it has nothing but the commit
    lock_tables(op.get_bind(), tables)


def lock_tables(connection: sa.Connection, tables: Iterable[str]) -> None:
    """Lock them all at once, or none of them and try again: the processes that run now lose no statement by it.

    Locked one after the other, a statement that has one table and waits for the next would be in a deadlock with the
    migration, and Postgres ends one of the two after its `deadlock_timeout`. So we give way before that. And we don't
    even ask while somebody has one for longer: all others would queue up behind us.
    Raises Unavailable when they are in use for too long.
    """
    left = list(tables)
    until = time.monotonic() + float(context.config.attributes.get("patience", PATIENCE))
    while True:
        blocker = connection.execute(sa.text(_BLOCKERS), {"tables": left}).one_or_none()
        if time.monotonic() > until:
            in_use, who = (blocker.table, f" by {blocker.who}") if blocker else (left[0], "")
            at = context.get_context().get_current_revision()
            stays = f"The database stays at revision {at}" if at else "Nothing has changed"
            raise Unavailable(f"The table {in_use} is in use all the time{who}. {stays}; try again.")
        in_use = blocker.table if blocker else _try_to_lock(connection, left)
        if in_use is None:
            return
        left.sort(key=lambda table: table != in_use)  # this one first, when nothing is held yet
        time.sleep(random.uniform(*PAUSES))  # noqa: S311  # jitter, no secret


def _try_to_lock(connection: sa.Connection, tables: Sequence[str]) -> str | None:
    """Lock all; or return the one that is in use, and none is locked."""
    timeout, table, began = FIRST_TIMEOUT, "", time.monotonic()
    try:
        with connection.begin_nested():
            for table in tables:
                connection.execute(sa.text(f"SET LOCAL statement_timeout = {max(int(timeout * 1000), 1)}"))
                connection.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
                if table == tables[0]:
                    if len(tables) > 1 and time.monotonic() - began > SOON:
                        raise _TooLate  # noqa: TRY301  # so that the savepoint gives the lock back
                    until = time.monotonic() + OTHERS_TIMEOUT
                timeout = until - time.monotonic()
            connection.execute(sa.text("SET LOCAL statement_timeout = DEFAULT"))
    except _TooLate:
        return table
    except DBAPIError as error:
        if sqlstate(error) != _QUERY_CANCELED:
            raise
        return table
    return None
