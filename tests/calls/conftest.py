"""One database for all of these tests; what keeps them apart is that each has a vendor of its own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tallyframe.administer import add_user
from tallyframe.db import Database
from tallyframe.embedded import Servers
from tallyframe.settings import Settings
from tests.conftest import owner_of, with_database
from tests.support.calling import Desk
from tests.support.postings import Postings
from tests.support.scripted import Scripted

_count = iter(range(1_000_000))


@pytest.fixture(scope="package")
async def database_url(servers: Servers, template: str) -> AsyncIterator[str]:
    """A migrated database that these tests share."""
    async with owner_of(servers.database_url) as owner:
        await owner.execute(f"CREATE DATABASE test_calls TEMPLATE {template}")
    yield with_database(servers.database_url, "test_calls")
    async with owner_of(servers.database_url) as owner:
        await owner.execute("DROP DATABASE test_calls WITH (FORCE)")


@pytest.fixture
async def elsewhere(settings: Settings) -> AsyncIterator[Database]:
    """Another worker's connections."""
    database = Database(settings.database_url.get_secret_value(), pool_size=8, statement_timeout=15)
    yield database
    await database.close()


@pytest.fixture
async def desk(db: Database, elsewhere: Database, owner: Any) -> AsyncIterator[Desk]:
    """A vendor that nobody else calls, and a generation to call it for. Ended while both workers still have Postgres."""
    user, _ = await add_user(
        db, "caller@example.com", admin=False, member=False, credits_given=None, signup_credits=0
    )
    generation = await Postings(owner, user.account_id, user.id).generation()
    desk = Desk(db, owner, generation, Scripted(f"vendor{next(_count)}"))
    yield desk
    await desk.end_all()
