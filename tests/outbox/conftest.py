"""What tests of the outbox share."""

from collections.abc import AsyncIterator

import pytest

from tallyframe.outbox.relay import JobQueue, connect
from tallyframe.settings import Settings


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[JobQueue]:
    connection = connect(settings.server.redis_url.get_secret_value())
    yield connection
    await connection.aclose(close_connection_pool=True)
