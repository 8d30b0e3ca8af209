"""Lines on which nothing comes any more: who wants to end, ends."""

import asyncio
import logging
from time import monotonic
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from chaos.proxy import link
from tallyframe.db import ADMIN_ROLE, Database


async def test_closing_takes_no_longer_than_one_silent_line(
    database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    server = urlsplit(database_url)
    async with link(str(server.hostname), int(server.port or 0)) as proxy:
        database = Database(proxy.instead_of(database_url), role=ADMIN_ROLE, pool_size=4, statement_timeout=15)
        await asyncio.gather(*(database.run(sa.select(sa.func.pg_sleep(0.2))) for _ in range(4)))
        proxy.forget()
        since = monotonic()
        with caplog.at_level(logging.WARNING):
            await database.close()
    assert monotonic() - since < 15  # as long as for one statement
    assert caplog.records == []
