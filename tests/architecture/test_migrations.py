"""The migrations make what the tables say, can be taken back, and wait for no lock for long."""

import asyncio
from collections.abc import AsyncIterator
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
LIMITS = ("lock_timeout", "idle_in_transaction_session_timeout", "row_security")
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


async def test_every_migration_ends_with_the_limits_it_began_with(
    empty_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where it has committed in between, which ends whatever was set for a transaction."""
    stamp, seen = HeadMaintainer.update_to_step, list[tuple[str, ...]]()

    def look(maintainer: Any, step: Any) -> None:
        connection = maintainer.context.connection
        seen.append(tuple(connection.execute(sa.text(f"SHOW {name}")).scalar_one() for name in LIMITS))
        stamp(maintainer, step)

    monkeypatch.setattr(HeadMaintainer, "update_to_step", look)
    await asyncio.to_thread(command.upgrade, alembic_config(empty_url), "head")
    assert seen == [("5s", "1min", "off")] * len(VERSIONS)
    assert [file.name for file in VERSIONS if "autocommit_block" in file.read_text()] == []


def test_a_migration_that_is_cut_off_gives_its_locks_back() -> None:
    assert migrating.IDLE_TIMEOUT == "60s"
