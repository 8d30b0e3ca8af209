"""Runs migrations on one connection, with limits on how long they may wait for a lock, and keep one."""

import asyncio
import random
import sys
import time
from typing import Any

import sqlalchemy as sa
from alembic import context
from sqlalchemy.exc import DBAPIError

import tallyframe.hot
import tallyframe.tables
from tallyframe.connecting import make_engine
from tallyframe.errors import Unavailable
from tallyframe.lost import sqlstate
from tallyframe.servers.postgres_url import parse_postgres_url
from tallyframe.settings import load_settings

LOCK_TIMEOUT = "5s"  # for locks on anything but our tables: a migration fails that can't get one
IDLE_TIMEOUT = "60s"  # and one that is cut off from the database gives its locks back

#: Seconds for the first table, while nothing is held: more than `deadlock_timeout`, so that an autovacuum makes way.
FIRST_TIMEOUT = 1.5
#: Seconds for all others together; less than `deadlock_timeout` (1 s), see `lock_tables`.
OTHERS_TIMEOUT = 0.5
PATIENCE = 60.0  # seconds for which it is tried again
#: Seconds between two tries, in which the traffic that has queued up behind us goes on.
PAUSES = (0.2, 0.6)

_QUERY_CANCELED = "57014"

_BLOCKERS = """
    SELECT DISTINCT format('process %s (%s, %s)', a.pid, a.application_name, a.state)
    FROM pg_stat_activity a JOIN pg_locks l ON l.pid = a.pid AND l.granted AND l.database = a.datid
    WHERE l.relation = ANY (CAST(CAST(:tables AS text[]) AS regclass[])) AND a.pid <> pg_backend_pid()
      AND a.xact_start < clock_timestamp() - interval '0.5 seconds'"""


def run(connection: sa.Connection) -> None:
    """Run the migrations in one transaction. Raises Unavailable when the tables are in use for too long."""
    context.configure(
        connection=connection,
        target_metadata=tallyframe.tables.metadata,
        compare_type=True,
        compare_server_default=True,
        include_object=_is_ours,
    )
    with context.begin_transaction():
        connection.execute(sa.text(f"SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'"))
        connection.execute(sa.text(f"SET LOCAL idle_in_transaction_session_timeout = '{IDLE_TIMEOUT}'"))
        # A migration that row-level security would keep from rows fails, and doesn't silently change only some.
        connection.execute(sa.text("SET LOCAL row_security = off"))
        if _has_work():
            lock_tables(connection)
        context.run_migrations()
        if context.get_context().get_current_revision() == context.script.get_current_head():
            for statement in tallyframe.hot.installing():
                connection.exec_driver_sql(statement)


def _has_work() -> bool:
    """Tell whether the tables may change: not where they are only compared, nor at the revision that is asked for."""
    try:
        wanted = context.get_revision_argument()
    except KeyError:
        return False
    return context.get_context().get_current_revision() != wanted


def lock_tables(connection: sa.Connection) -> None:
    """Lock all tables at once, or none of them and try again: the processes that run now lose no statement by it.

    Locked one after the other, a statement that has one table and waits for the next would be in a deadlock with the
    migration, and Postgres ends one of the two after its `deadlock_timeout`. So we give way before that.
    """
    existing = sa.inspect(connection).get_table_names()
    tables = sorted(set(existing) & set(tallyframe.tables.metadata.tables))
    until = time.monotonic() + float(context.config.attributes.get("patience", PATIENCE))
    while in_use := _try_to_lock(connection, tables):
        if time.monotonic() > until:
            blockers = connection.execute(sa.text(_BLOCKERS), {"tables": tables}).scalars().all()
            who = f" by {', '.join(blockers)}" if blockers else ""
            raise Unavailable(f"The table {in_use} is in use all the time{who}. Nothing has changed; try again.")
        tables.sort(key=lambda table: table != in_use)  # this one first, when nothing is held yet
        time.sleep(random.uniform(*PAUSES))  # noqa: S311  # jitter, no secret


def _try_to_lock(connection: sa.Connection, tables: list[str]) -> str | None:
    """Lock all; or return the one that is in use, and none is locked."""
    timeout, table = FIRST_TIMEOUT, ""
    try:
        with connection.begin_nested():
            for table in tables:
                connection.execute(sa.text(f"SET LOCAL statement_timeout = {max(int(timeout * 1000), 1)}"))
                connection.execute(sa.text(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE"))
                if table == tables[0]:
                    until = time.monotonic() + OTHERS_TIMEOUT
                timeout = until - time.monotonic()
            connection.execute(sa.text("SET LOCAL statement_timeout = DEFAULT"))
    except DBAPIError as error:
        if sqlstate(error) != _QUERY_CANCELED:
            raise
        return table
    return None


def _is_ours(thing: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:  # noqa: ANN401, ARG001, FBT001  # alembic's signature
    return not (kind == "table" and reflected and name == "alembic_version")


#: The number of the lock that a migration holds until its connection ends; nothing else takes one of this kind.
LOCK = 0x7466_6D69_6772_6174
LOOK_EVERY = 0.2  # seconds between two looks whether it is free


def wait_for_turn(connection: sa.Connection) -> None:
    """Take the lock of migrations, which ends with the connection; wait as long as another process holds it.

    By looking again and again: a statement that waited would have a snapshot, for whose end an index that the other
    one makes concurrently would wait.
    """
    is_told = False
    while not connection.execute(sa.text(f"SELECT pg_try_advisory_lock({LOCK})")).scalar_one():
        connection.rollback()
        if not is_told:
            print("Another migration of this database is at work. Waiting for it.", file=sys.stderr, flush=True)  # noqa: T201  # for whoever has run the command
        is_told = True
        time.sleep(LOOK_EVERY)
    connection.rollback()


async def main() -> None:
    """Connect as the login role, which owns the tables, wait for other migrations, and run."""
    url = context.config.attributes.get("url") or load_settings().server.database_url.get_secret_value()
    engine = make_engine(parse_postgres_url(url), {})
    async with engine.connect() as connection:
        await connection.run_sync(wait_for_turn)
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


asyncio.run(main())
