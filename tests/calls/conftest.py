"""One database for all of these tests; what keeps them apart is that each has a vendor of its own."""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tallyframe.commands.users import add_user
from tallyframe.db import WORKER_ROLE, Database
from tallyframe.settings import Settings
from tests.support.calling import Desk, Vendor
from tests.support.postings import Postings
from tests.support.shared import shared_database

_count = iter(range(1_000_000))

#: Whose generations a desk has, in turns: 0 and 4 are one user's, and so are 1 and 5.
USERS = 4

#: Workers are at them.
LEASED = "UPDATE generations SET lease_until = now() + interval '1 hour' WHERE id = ANY($1)"

#: A worker has died.
LOST = "UPDATE generations SET lease_until = now() - interval '1 s' WHERE id = $1"

database_url = shared_database("test_calls", "package")


@pytest.fixture
async def elsewhere(settings: Settings) -> AsyncIterator[Database]:
    """Another worker's connections."""
    database = Database(
        settings.server.database_url.get_secret_value(), role=WORKER_ROLE, pool_size=8, statement_timeout=15
    )
    yield database
    await database.close()


async def _caller(db: Database, owner: Any) -> Postings:
    """Somebody new, for whom generations can be made."""
    email = f"caller{next(_count)}@example.com"
    user, _ = await add_user(db, email, admin=False, member=False, credits_given=None, signup_credits=0)
    return Postings(owner, user.account_id, user.id)


@pytest.fixture
async def desk(db: Database, worker_db: Database, elsewhere: Database, owner: Any) -> AsyncIterator[Desk]:
    """A vendor that nobody else calls, and generations to call it for; ended while both workers have Postgres."""
    users = [await _caller(db, owner) for _ in range(USERS)]
    generations = [await users[turn % USERS].generation(status="processing") for turn in range(12)]
    await owner.execute(LEASED, generations)
    name = f"vendor{next(_count)}"
    desk = Desk(worker_db, owner, generations, Vendor(name, f"{name}-1"))
    yield desk
    await desk.end_all()
