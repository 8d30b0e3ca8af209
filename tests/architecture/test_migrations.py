"""The migrations make what the tables say, can be taken back, and wait for no lock for long."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command
from alembic.runtime.migration import HeadMaintainer
from alembic.script import ScriptDirectory

from tallyframe import migrating
from tallyframe.embedded import Servers
from tallyframe.errors import Unavailable
from tallyframe.migrate import alembic_config, newest_revision
from tests.conftest import owner_of, with_database

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
UNCHECKED = """
    SELECT conname FROM pg_constraint WHERE NOT convalidated
    UNION ALL SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"""
VERSIONS = sorted((Path(__file__).parents[2] / "migrations" / "versions").glob("*.py"))
LIMITS = ("lock_timeout", "idle_in_transaction_session_timeout", "tcp_keepalives_idle", "row_security")
THERE = "SELECT tablename FROM pg_tables WHERE schemaname = 'public'"
LOCKED = """
    SELECT relation::regclass::text FROM pg_locks
    WHERE mode = 'AccessExclusiveLock' AND granted AND pid = pg_backend_pid() AND relation IS NOT NULL"""
#: The migration waits for its first table.
ASKS = """
    SELECT EXISTS (SELECT FROM pg_locks
                   WHERE mode = 'AccessExclusiveLock' AND NOT granted AND relation = 'project_images'::regclass)"""
WAITS = """
    SELECT EXISTS (SELECT FROM pg_stat_activity
                   WHERE datname = current_database() AND query LIKE 'CREATE INDEX%' AND wait_event = 'virtualxid')"""
LEFT_OVERS = "SELECT count(*) FROM pg_proc WHERE pronamespace = 'public'::regnamespace"


@pytest.fixture
async def empty_url(servers: Servers) -> AsyncIterator[str]:
    async with owner_of(servers.database_url) as owner:
        await owner.execute("CREATE DATABASE empty")
        yield with_database(servers.database_url, "empty")
        await owner.execute("DROP DATABASE empty WITH (FORCE)")


async def test_up_down_and_up_again(empty_url: str) -> None:
    config = alembic_config(empty_url)
    await asyncio.to_thread(command.upgrade, config, "head")
    await asyncio.to_thread(command.check, config)
    async with owner_of(empty_url) as owner:
        assert await owner.fetch(UNCHECKED) == []
    await asyncio.to_thread(command.downgrade, config, "base")
    async with owner_of(empty_url) as owner:
        assert await owner.fetchval(TABLES) == 0
        assert await owner.fetchval(LEFT_OVERS) == 0
    await asyncio.to_thread(command.upgrade, config, "head")
    await asyncio.to_thread(command.check, config)


def test_there_is_one_line_of_revisions() -> None:
    assert len(ScriptDirectory.from_config(alembic_config()).get_heads()) == 1


async def test_a_migration_gives_up_on_a_lock(empty_url: str) -> None:
    config = alembic_config(empty_url)
    await asyncio.to_thread(command.upgrade, config, "head")
    async with owner_of(empty_url) as owner, owner.transaction():
        await owner.execute("LOCK TABLE generations IN ACCESS SHARE MODE")  # as whoever reads it does
        config.attributes["patience"] = 0.5
        with pytest.raises(
            Unavailable, match=r"generations is in use all the time by process \d+ \(.*, idle in transaction\)"
        ):
            await asyncio.to_thread(command.downgrade, config, "base")
        assert await owner.fetchval("SELECT version_num FROM alembic_version") == newest_revision()
        assert await owner.fetchval(TABLES) > 0
        here = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        assert await owner.fetchval(here) == 0


async def test_a_migration_that_has_committed_still_waits_for_no_lock_for_long(empty_url: str) -> None:
    config = alembic_config(empty_url)
    await asyncio.to_thread(command.upgrade, config, "0019")
    async with owner_of(empty_url) as old, owner_of(empty_url) as reader:
        await old.execute("BEGIN ISOLATION LEVEL REPEATABLE READ")
        await old.execute("SELECT 1")  # for whose snapshot an index that 0020 makes concurrently waits
        config.attributes["patience"] = 0.5
        migration = asyncio.create_task(asyncio.to_thread(command.upgrade, config, "head"))
        while not await reader.fetchval(WAITS):
            assert not migration.done()
            await asyncio.sleep(0.02)
        await reader.execute("BEGIN")
        await reader.execute("LOCK TABLE project_media IN ACCESS SHARE MODE")
        await old.execute("COMMIT")
        with pytest.raises(Unavailable, match=r"project_media is in use .* The database stays at revision 0022; try"):
            await migration
        await reader.execute("COMMIT")
    await asyncio.to_thread(command.upgrade, config, "head")
    await asyncio.to_thread(command.check, config)


class Watched:
    """What holds at the end of each migration, before its commit."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.limits = list[tuple[str, ...]]()
        self.locked = list[set[str]]()  # tables that it has to itself
        stamp = HeadMaintainer.update_to_step

        def look(maintainer: Any, step: Any) -> None:
            connection = maintainer.context.connection
            self.limits.append(tuple(connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in LIMITS))
            self.locked.append(set(connection.execute(sa.text(LOCKED)).scalars()))
            stamp(maintainer, step)

        monkeypatch.setattr(HeadMaintainer, "update_to_step", look)


async def test_every_migration_ends_with_the_limits_it_began_with(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it has committed in between, which ends whatever was set for a transaction."""
    watched = Watched(monkeypatch)
    await asyncio.to_thread(command.upgrade, alembic_config(empty_url), "head")
    assert watched.limits == [("5s", "1min", "20", "off")] * len(VERSIONS)
    assert [file.name for file in VERSIONS if "autocommit_block" in file.read_text()] == []


async def test_a_migration_locks_nothing_that_it_has_not_asked_for(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What it locks by the way may wait without end, and have others wait, while it holds more."""
    asked, lock_tables = set[str](), migrating.lock_tables

    def spy(connection: sa.Connection, tables: Sequence[str]) -> None:
        asked.update(tables)
        lock_tables(connection, tables)

    config = alembic_config(empty_url)
    await asyncio.to_thread(command.upgrade, config, "0014")
    monkeypatch.setattr(migrating, "lock_tables", spy)
    for revision in (file.name[:4] for file in VERSIONS if file.name > "0015"):
        async with owner_of(empty_url) as owner:
            there = {row["tablename"] for row in await owner.fetch(THERE)}
        asked.clear()
        with monkeypatch.context() as patch:
            watched = Watched(patch)
            await asyncio.to_thread(command.upgrade, config, revision)
        assert watched.locked[0] & there <= asked, revision


async def asks_while_it_is_held(reader: Any, looking: Any) -> bool:
    await reader.execute("BEGIN; LOCK TABLE project_images IN ACCESS SHARE MODE")
    for _ in range(30):
        if await looking.fetchval(ASKS):
            return True
        await asyncio.sleep(0.01)
    return False


async def test_an_order_that_has_queued_up_behind_a_migration_is_not_ended_by_it(empty_url: str) -> None:
    """The migration gets its first table after a wait; whoever waits for that table, too, holds the next one."""
    config = alembic_config(empty_url)
    await asyncio.to_thread(command.upgrade, config, "0022")
    async with owner_of(empty_url) as reader, owner_of(empty_url) as order, owner_of(empty_url) as looking:
        migration = asyncio.create_task(asyncio.to_thread(command.upgrade, config, "head"))
        while not await asks_while_it_is_held(reader, looking):  # for a short time: for a long one it wouldn't ask
            await reader.execute("COMMIT")
            assert not migration.done()
        await order.execute("BEGIN; LOCK TABLE project_media IN ROW EXCLUSIVE MODE")
        ordering = asyncio.create_task(order.execute("LOCK TABLE project_images IN ROW EXCLUSIVE MODE"))
        await asyncio.sleep(0.8)
        await reader.execute("COMMIT")
        await ordering
        await order.execute("COMMIT")
        await migration
