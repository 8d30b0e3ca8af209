"""One database for all tests of a file, where a fresh one for each would take longer than the tests themselves.

What keeps such tests apart is that each has a user and vendors of its own, and starts with nothing left to be done.
"""

from collections.abc import AsyncIterator
from typing import Any

import pytest

from tallyframe.db import Database
from tallyframe.embedded import Servers
from tests.conftest import ClientFor, copy_of, enroll
from tests.support.cast import Member

_count = iter(range(1_000_000))


def shared_database(name: str, scope: Any = "module") -> Any:
    """The fixture that stands in for `database_url`."""

    @pytest.fixture(scope=scope)
    async def database_url(servers: Servers, template: str) -> AsyncIterator[str]:
        async with copy_of(template, servers, name) as url:
            yield url

    return database_url


async def newcomer(db: Database, client_for: ClientFor, owner: Any, *, admin: bool = False) -> Member:
    """Somebody with 20 credits whom no other test knows; what other tests have left undone is forgotten."""
    await owner.execute("TRUNCATE outbox, provider_circuits, provider_slots")
    return await enroll(db, client_for, f"newcomer{next(_count)}@example.com", 20, admin=admin)
