"""Lines on which nothing comes any more: who wants to end, ends, and who holds a lock lets it go."""

import asyncio
import logging
from collections.abc import AsyncIterator
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import asyncpg
from structlog.testing import capture_logs

from chaos.proxy import Proxy, link
from tallyframe.db import ADMIN_ROLE, API_ROLE, WORKER_ROLE, Database, pool
from tallyframe.errors import Unavailable
from tallyframe.servers.outage import Outage
from tests.support.cast import Member
from tests.support.unheard import unheard

LIMIT = 15  # seconds for one statement
LOCKED = sa.select(sa.func.pg_advisory_xact_lock(0x7465_7374).cast(sa.Text))  # by this transaction, until it ends


@pytest.fixture
async def line(database_url: str) -> AsyncIterator[Proxy]:
    server = urlsplit(database_url)
    async with link(str(server.hostname), int(server.port or 0)) as proxy:
        yield proxy


async def test_closing_takes_no_longer_than_one_silent_line(
    line: Proxy, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    database = Database(line.instead_of(database_url), role=ADMIN_ROLE, pool_size=8, statement_timeout=LIMIT)
    await asyncio.gather(*(database.run(sa.select(sa.func.pg_sleep(0.2))) for _ in range(8)))
    line.forget()
    since = monotonic()
    with caplog.at_level(logging.WARNING):
        await database.close()
    assert monotonic() - since < LIMIT  # all eight one after the other take 16 s, even if each takes no more than 2
    assert caplog.records == []


async def test_closing_takes_away_what_is_in_use(database_url: str) -> None:
    database = Database(database_url, role=ADMIN_ROLE, pool_size=1, statement_timeout=60)
    busy = asyncio.create_task(database.run(sa.select(sa.func.pg_sleep(60))))
    await asyncio.sleep(0.5)
    await database.close()
    with pytest.raises(Unavailable):
        await asyncio.wait_for(busy, LIMIT)


async def test_who_is_canceled_twice_leaves_no_error_that_nobody_hears(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def never_heard(_: Any) -> None:
        """What asyncpg does when its request to cancel a statement is answered only after the line was cut."""
        await asyncio.sleep(1)
        raise TimeoutError

    monkeypatch.setattr(asyncpg.AsyncAdapt_asyncpg_connection, "_terminate_graceful_close", never_heard)
    database = Database(database_url, role=API_ROLE, pool_size=1, statement_timeout=LIMIT)

    async def hold() -> None:
        async with database.as_user(uuid4()).transaction():
            await asyncio.sleep(60)

    with unheard() as reports:
        running = asyncio.create_task(hold())
        await asyncio.sleep(0.5)
        for _ in range(2):  # the second time while the connection is being thrown away
            running.cancel()
            await asyncio.sleep(0.3)
        await asyncio.gather(running, return_exceptions=True)
        await asyncio.sleep(1)
    await database.close()
    assert reports == []


async def test_a_connection_that_died_while_it_was_unused_costs_no_error(
    line: Proxy, database_url: str, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever has closed it: Postgres, which is heard within milliseconds; or a firewall, which says nothing."""
    monkeypatch.setattr(pool, "ANSWER_TIMEOUT", 0.5)
    outage = Outage("postgres", remind=30)
    url = line.instead_of(database_url)
    worker = Database(url, role=WORKER_ROLE, pool_size=3, statement_timeout=LIMIT, outage=outage)

    async def use_all() -> list[int]:
        sleep = sa.select(sa.func.pg_backend_pid(), sa.func.pg_sleep(0.2))
        return [result.scalar_one() for result in await asyncio.gather(*(worker.run(sleep) for _ in range(3)))]

    async def end(pids: list[int]) -> None:
        await owner.fetch("SELECT pg_terminate_backend(pid, 5000) FROM unnest($1::int[]) AS pid", pids)

    with capture_logs() as logs:
        for seconds in (0.05, 0.1, 0.4):
            await end(await use_all())
            await asyncio.sleep(seconds)
        await use_all()
        line.forget()
        await asyncio.sleep(0.4)
        await use_all()
        async with worker.transaction() as transaction:
            await transaction.execute(LOCKED)
    await worker.close()
    assert logs == []


async def test_sessions_that_postgres_ends_when_they_are_idle_are_no_outage(database_url: str, owner: Any) -> None:
    name = await owner.fetchval("SELECT current_database()")
    await owner.execute(f"ALTER DATABASE {name} SET idle_session_timeout = '600ms'")
    outage = Outage("postgres", remind=30)
    worker = Database(database_url, role=WORKER_ROLE, pool_size=2, statement_timeout=LIMIT, outage=outage)
    with capture_logs() as logs:
        for seconds in (0, 0.6, 0.61, 0.8):
            await asyncio.sleep(seconds)
            await worker.run(sa.select(1))
    await worker.close()
    assert logs == []


async def test_who_is_cut_off_before_its_commit_gives_its_locks_back(
    line: Proxy, database_url: str, alice: Member, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "LINE_PATIENCE", 0.5)
    lost = Database(line.instead_of(database_url), role=API_ROLE, pool_size=1, statement_timeout=0.5)

    async def cut_off(mine: Database, is_free: list[bool]) -> None:
        async with mine.transaction() as transaction:
            await transaction.execute(LOCKED)
            line.forget()
            is_free += [True for _ in (await db.run(LOCKED)).all()]

    for mine in (lost, lost.as_user(alice.user.id)):
        is_free: list[bool] = []
        with pytest.raises(Unavailable):
            await cut_off(mine, is_free)
        assert is_free
    await lost.close()


async def test_who_wakes_up_in_the_middle_of_a_transaction_is_told_that_it_is_over(
    database_url: str, alice: Member
) -> None:
    frozen = Database(database_url, role=API_ROLE, pool_size=1, statement_timeout=0.5)

    async def freeze(mine: Database) -> None:
        async with mine.transaction() as transaction:
            await transaction.execute(LOCKED)
            await asyncio.sleep(2)
            await transaction.execute(LOCKED)

    for mine in (frozen, frozen.as_user(alice.user.id)):
        with pytest.raises(Unavailable):
            await freeze(mine)
        await mine.run(LOCKED)
    await frozen.close()
