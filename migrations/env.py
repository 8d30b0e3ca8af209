"""Runs migrations on one connection, one process at a time."""

import asyncio
import sys
import time
from typing import Any

import sqlalchemy as sa
from alembic import context

import tallyframe.hot
import tallyframe.tables
from tallyframe.connecting import make_engine
from tallyframe.migrating import SESSION, limit_waits, lock_tables
from tallyframe.servers.postgres_url import parse_postgres_url
from tallyframe.settings import load_settings


def run(connection: sa.Connection) -> None:
    """Run the migrations, in one transaction unless one of them commits.

    Raises Unavailable when the tables are in use for too long.
    """
    context.configure(
        connection=connection,
        target_metadata=tallyframe.tables.metadata,
        compare_type=True,
        compare_server_default=True,
        include_object=_is_ours,
    )
    with context.begin_transaction():
        limit_waits(connection)
        if _locks_all():
            existing = sa.inspect(connection).get_table_names()
            lock_tables(connection, sorted(set(existing) & set(tallyframe.tables.metadata.tables)))
        context.run_migrations()
        if context.get_context().get_current_revision() == context.script.get_current_head():
            for statement in tallyframe.hot.installing():
                connection.exec_driver_sql(statement)


#: From here on, each revision locks what it changes, and commits.
LOCKS_BY_ITSELF = "0014"


def _locks_all() -> bool:
    """Tell whether tables change under a lock on all: in early revisions, and where revisions are taken back."""
    try:
        wanted = str(context.get_revision_argument() or "")
    except KeyError:  # they are only compared
        return False
    current = context.get_context().get_current_revision()
    return (current or "") != wanted and not (current and LOCKS_BY_ITSELF <= current < wanted)


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
    engine = make_engine(parse_postgres_url(url), SESSION)
    async with engine.connect() as connection:
        await connection.run_sync(wait_for_turn)
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


asyncio.run(main())
