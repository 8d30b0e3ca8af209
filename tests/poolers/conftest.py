"""The logins of docs/poolers.md."""

import pytest

from tallyframe.embedded import Servers
from tests.conftest import owner_of
from tests.support import pgbouncer


@pytest.fixture(scope="session", autouse=True)
async def logins(servers: Servers, template: str) -> None:  # migrations make the roles
    async with owner_of(servers.database_url) as owner:
        await pgbouncer.make_logins(owner)
