"""A database as the version before has left it, and that version's own statements."""

import asyncio
from collections.abc import AsyncIterator
from itertools import count

import pytest
from alembic import command

from tallyframe.db import Database
from tallyframe.embedded import Servers
from tallyframe.migrate import alembic_config
from tallyframe.settings import Settings
from tallyframe.storages.registry import build_storages
from tests.audit.conftest import Audits
from tests.conftest import owner_of, with_database

BEFORE = "0010"
_count = count()


@pytest.fixture
async def database_url(servers: Servers) -> AsyncIterator[str]:
    """An empty database at the revision of the version before, in place of a migrated one."""
    name = f"before_{next(_count)}"
    async with owner_of(servers.database_url) as owner:
        await owner.execute(f"CREATE DATABASE {name}")
    url = with_database(servers.database_url, name)
    await asyncio.to_thread(command.upgrade, alembic_config(url), BEFORE)
    yield url
    async with owner_of(servers.database_url) as owner:
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


@pytest.fixture
async def audits(worker_db: Database, settings: Settings) -> AsyncIterator[Audits]:
    storages = build_storages(settings)
    yield Audits(worker_db, storages)
    for storage in storages.by_name.values():
        await storage.aclose()
