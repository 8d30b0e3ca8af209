"""Runs migrations on one connection, with limits on how long they may wait for a lock, and keep one."""

import asyncio
from typing import Any

import sqlalchemy as sa
from alembic import context
from sqlalchemy.ext.asyncio import create_async_engine
from sqlalchemy.pool import NullPool

import tallyframe.tables
from tallyframe.db import sqlalchemy_url
from tallyframe.settings import load_settings

LOCK_TIMEOUT = "5s"  # a migration that can't get its lock fails, and doesn't hold up the traffic behind it
IDLE_TIMEOUT = "60s"  # and one that is cut off from the database gives its locks back


def run(connection: sa.Connection) -> None:
    """Run the migrations in one transaction."""
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
        context.run_migrations()


def _is_ours(thing: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:  # noqa: ANN401, ARG001, FBT001  # alembic's signature
    return not (kind == "table" and reflected and name == "alembic_version")


async def main() -> None:
    """Connect as the login role, which owns the tables, and run."""
    url = context.config.attributes.get("url") or load_settings().database_url.get_secret_value()
    engine = create_async_engine(sqlalchemy_url(url), poolclass=NullPool)
    async with engine.connect() as connection:
        await connection.run_sync(run)
        await connection.commit()
    await engine.dispose()


asyncio.run(main())
