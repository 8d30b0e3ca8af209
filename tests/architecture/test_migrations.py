"""The migrations make what the tables say, can be taken back, and wait for no lock for long."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from tallyframe.embedded import Servers
from tallyframe.errors import Unavailable
from tallyframe.migrate import alembic_config, newest_revision
from tests.conftest import owner_of, with_database

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
UNCHECKED = """
    SELECT conname FROM pg_constraint WHERE NOT convalidated
    UNION ALL SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"""
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


def test_a_migration_that_is_cut_off_gives_its_locks_back() -> None:
    assert 'IDLE_TIMEOUT = "60s"' in (Path(__file__).parents[2] / "migrations" / "env.py").read_text()
