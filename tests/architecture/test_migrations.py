"""The migrations make what the tables say, can be taken back, and wait for no lock for long."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from tallyframe.embedded import Servers
from tallyframe.migrate import alembic_config
from tests.conftest import owner_of, with_database

TABLES = "SELECT count(*) FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
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
    await asyncio.to_thread(command.downgrade, config, "base")
    async with owner_of(empty_url) as owner:
        assert await owner.fetchval(TABLES) == 0
        assert await owner.fetchval(LEFT_OVERS) == 0
    await asyncio.to_thread(command.upgrade, config, "head")
    await asyncio.to_thread(command.check, config)


def test_there_is_one_line_of_revisions() -> None:
    assert len(ScriptDirectory.from_config(alembic_config()).get_heads()) == 1


def test_a_migration_gives_up_on_a_lock() -> None:
    assert 'LOCK_TIMEOUT = "5s"' in (Path(__file__).parents[2] / "migrations" / "env.py").read_text()
