"""API, worker and doctor through a real PgBouncer in transaction mode, as docs/poolers.md has it."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import httpx
import pytest
import sqlalchemy as sa

from tallyframe.db import API_ROLE, WORKER_ROLE, Database
from tallyframe.doctor import examine
from tallyframe.embedded import Servers
from tallyframe.errors import Unavailable
from tallyframe.servers.postgres_url import POOLER, Address
from tallyframe.settings import Settings
from tests.conftest import ClientFor, acting_as, enroll
from tests.support import pgbouncer
from tests.support.books import assert_books_balance
from tests.support.processes import Processes
from tests.support.working import Bench

pytestmark = pytest.mark.skipif(pgbouncer.pgbouncer() is None, reason="there is no PgBouncer of 1.21 or newer here")

POOLED = "pg_stat_activity WHERE usename LIKE '%pooled' AND datname = current_database()"
PROJECTS = sa.text("SELECT count(*) FROM projects")


@pytest.fixture(scope="module")
async def port(servers: Servers, template: str) -> AsyncIterator[int]:
    """A pooler with fewer connections than any of our pools: nobody can count on the same one."""
    async with pgbouncer.running(servers.database_url, default_pool_size="3") as port:
        yield port


@pytest.fixture
def settings(settings: Settings, port: int, database_url: str) -> Settings:
    return settings.replaced(pooler_url=pgbouncer.pooled(database_url, port))


async def test_orders_are_placed_run_and_paid(client_for: ClientFor, db: Database, bench: Bench, owner: Any) -> None:
    members = [await enroll(db, client_for, f"user{number}@example.com", 50) for number in range(12)]
    await asyncio.gather(*(member.order() for member in members for _ in range(3)))
    failing = await asyncio.gather(*(member.order("[fail:content_policy] a cup") for member in members))
    assert len(failing) == 12
    await bench.drain()
    for member in members:
        found = (await member.http.get("/v1/projects")).json()["data"]
        assert sorted(each["status"] for each in found) == ["draft", "draft", "draft", "failed"]
    await assert_books_balance(db, owner)
    connections = await owner.fetch(f"SELECT count(*) FROM {POOLED} GROUP BY usename")  # noqa: S608  # a constant of ours
    assert 0 < max(row["count"] for row in connections) <= 3


async def test_users_never_see_each_others_rows(settings: Settings, client_for: ClientFor, db: Database) -> None:
    members = [await enroll(db, client_for, f"user{number}@example.com", 50) for number in range(6)]
    for number, member in enumerate(members):
        for _ in range(number):
            await member.order()
    async with acting_as(API_ROLE, settings) as api:

        async def look(number: int) -> None:
            user = api.as_user(members[number].user.id)
            assert (await user.run(PROJECTS)).scalar_one() == number
            async with user.transaction() as mine:
                assert (await mine.execute(PROJECTS)).scalar_one() == number
            assert (await api.run(PROJECTS)).scalar_one() == 0

        await asyncio.gather(*(look(turn % 6) for turn in range(240)))


async def test_a_canceled_statement_ends_at_the_server(settings: Settings, owner: Any) -> None:
    async with acting_as(WORKER_ROLE, settings) as db:
        task = asyncio.create_task(db.run(sa.text("SELECT pg_sleep(61)")))
        running = f"SELECT count(*) FROM {POOLED} AND query LIKE '%pg_sleep(61)%' AND state = 'active'"  # noqa: S608  # as above
        while not await owner.fetchval(running):
            await asyncio.sleep(0.02)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        async with asyncio.timeout(5):
            while await owner.fetchval(running):
                await asyncio.sleep(0.02)
        assert (await db.run(sa.text("SELECT 1"))).scalar_one() == 1


async def test_a_statement_goes_on_after_its_table_has_changed(settings: Settings, owner: Any) -> None:
    """Both versions run beside each other while a migration adds a column or rebuilds an index."""
    async with acting_as(WORKER_ROLE, settings) as db:
        asked = sa.text("SELECT count(*), max(slots) FROM workers")
        assert (await db.run(asked)).one() == (0, None)
        await owner.execute("ALTER TABLE workers ADD COLUMN extra text DEFAULT 'x'")
        for _ in range(5):
            assert (await db.run(asked)).one() == (0, None)


async def test_connections_of_the_pooler_that_postgres_has_ended_cost_nobody_an_error(
    settings: Settings, owner: Any
) -> None:
    async with acting_as(WORKER_ROLE, settings) as db:
        for _ in range(3):
            assert (await db.run(sa.text("SELECT 1"))).scalar_one() == 1
            await owner.execute(f"SELECT pg_terminate_backend(pid) FROM {POOLED}")  # noqa: S608  # as above
            await asyncio.sleep(0.1)


async def test_real_processes_work_through_it(
    settings: Settings, processes: Processes, db: Database, owner: Any
) -> None:
    await processes.worker()
    _, url = await processes.api()

    def client_for(key: str | None) -> httpx.AsyncClient:
        return httpx.AsyncClient(base_url=url, headers={"Authorization": f"Bearer {key}"})

    alice = await enroll(db, client_for, "alice@example.com", 20)
    async with alice.http, asyncio.timeout(30):
        project = await alice.order()
        while (await alice.project(project["id"]))["status"] in {"pending", "processing"}:
            await asyncio.sleep(0.1)
        assert (await alice.project(project["id"]))["image_url"]
    direct = await owner.fetch(
        "SELECT usename::text FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
        "AND application_name = 'tallyframe' AND usename NOT LIKE '%pooled'"
    )
    assert len(direct) <= 3  # the auditor's


async def test_the_doctor_works_as_each_role(settings: Settings) -> None:
    found = {finding.name: finding async for finding in examine(settings)}
    assert found["pooler"].is_well, found["pooler"].words
    assert found["pooler"].words.endswith(", as each of our roles")


async def test_the_doctor_finds_a_pooler_that_keeps_no_statements(
    settings: Settings, servers: Servers, database_url: str
) -> None:
    async with pgbouncer.running(servers.database_url, max_prepared_statements="0") as port:
        url = pgbouncer.pooled(database_url, port)
        found = {each.name: each async for each in examine(settings.replaced(pooler_url=url))}
    assert "keeps no prepared statements" in found["pooler"].words


async def test_the_doctor_finds_a_login_without_timeouts(settings: Settings, owner: "asyncpg.Connection[Any]") -> None:
    slow = settings.replaced(statement_timeout=5)
    found = {finding.name: finding async for finding in examine(slow)}
    assert "'tallyframe_api_pooled' has a " in found["pooler"].words
    assert "that is 15 s. Set it for that login to 5 s" in found["pooler"].words


async def test_settings_of_our_own_are_never_sent_to_it(port: int, database_url: str) -> None:
    """Named where Postgres itself belongs, it refuses the role; told to ignore that, we refuse the connection."""
    url = pgbouncer.pooled(database_url, port).replace("{role}", API_ROLE)
    db = Database(Address(url), role=API_ROLE, pool_size=1, statement_timeout=5)
    with pytest.raises(Unavailable) as caught:
        await db.run(PROJECTS)
    await db.close()
    assert POOLER in caught.value.words  # type: ignore[attr-defined]


async def test_a_pooler_that_ignores_our_role_is_not_used(servers: Servers, database_url: str) -> None:
    ignored = "role, search_path, statement_timeout, lock_timeout, idle_in_transaction_session_timeout, "
    keepalives = "tcp_keepalives_idle, tcp_keepalives_interval, tcp_keepalives_count"
    async with pgbouncer.running(servers.database_url, ignore_startup_parameters=ignored + keepalives) as port:
        url = pgbouncer.pooled(database_url, port).replace("{role}", WORKER_ROLE)
        db = Database(url, role=API_ROLE, pool_size=1, statement_timeout=5)
        with pytest.raises(Unavailable) as caught:
            await db.run(PROJECTS)
        await db.close()
    assert "act as our role" in caught.value.words  # type: ignore[attr-defined]
