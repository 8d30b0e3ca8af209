"""Any plug may be pulled at any moment: lines, workers, Redis, Postgres. What was promised is kept, and paid once."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx

from chaos.proxy import Proxy, link
from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.embedded import Servers
from tallyframe.settings import Settings
from tests.conftest import owner_of
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.processes import Process, Processes

ORDER = {"kind": "image", "prompt": "[fail:content_policy] a cup"}
RUNS = "SELECT count(*) FROM generations WHERE lease_until > now()"


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 30) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@dataclass
class Writer:
    """Sends each order under a key of its own until it is told what became of it."""

    http: httpx.AsyncClient
    told: dict[str, tuple[str, str]] = field(default_factory=dict)  # key → ids of project and generation
    broken: int = 0

    async def send(self, key: str) -> httpx.Response | None:
        """One try; None when no answer came."""
        try:
            return await self.http.post("/v1/projects", json=ORDER, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            self.broken += 1
            return None

    async def order(self, key: str) -> None:
        async with asyncio.timeout(90):
            while key not in self.told:
                answer = await self.send(key)
                if answer is not None and answer.status_code == 202:
                    project = answer.json()
                    self.told[key] = (project["id"], project["generation"]["id"])
                elif answer is not None:
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["retry-after"]) > 0
                    await asyncio.sleep(0.05)

    async def order_all(self, keys: list[str], clients: int) -> None:
        waiting = iter(keys)

        async def client() -> None:
            for key in waiting:
                await self.order(key)

        await asyncio.gather(*(client() for _ in range(clients)))


@asynccontextmanager
async def writer(member: Member, url: str, seconds: float = 3) -> AsyncIterator[Writer]:
    headers = {"Authorization": f"Bearer {member.key}"}
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=seconds, limits=limits) as http:
        yield Writer(http)


async def worry(links: list[Proxy], chance: random.Random) -> None:
    """Cut, hold up and swallow answers on the links, again and again."""
    while True:
        await asyncio.sleep(chance.uniform(0.02, 0.1))
        proxy = chance.choice(links)
        how = chance.choice(["cut", "swallow_replies", "reset"])
        if how == "cut":
            proxy.cut()
            continue
        with proxy.switched(how, after_bytes=chance.randrange(300)):  # type: ignore[arg-type]  # a mode
            await asyncio.sleep(chance.uniform(0.02, 0.15))


async def test_150_keyed_orders_over_lines_that_lose_answers_are_150_debits(
    rich: Member, processes: Processes, db: Database, owner: Any, settings: Settings
) -> None:
    database = urlsplit(settings.database_url.get_secret_value())
    async with link(str(database.hostname), int(database.port or 0)) as to_postgres:
        _, url = await processes.api(TALLYFRAME_DATABASE_URL=to_postgres.instead_of(database.geturl()))
        async with link("127.0.0.1", int(urlsplit(url).port or 0)) as to_api:
            keys = [f"order-{number}" for number in range(150)]
            async with writer(rich, to_api.instead_of(url)) as through:
                worrying = asyncio.create_task(worry([to_api, to_postgres], random.Random(7)))
                await through.order_all(keys, clients=10)
                worrying.cancel()
                await asyncio.gather(worrying, return_exceptions=True)
            async with writer(rich, url, 30) as straight:
                await straight.order_all(keys, clients=10)

    assert through.broken > 10, "or else this proves little"
    assert straight.told == through.told
    assert len({generation for _, generation in through.told.values()}) == 150
    assert await owner.fetchval("SELECT count(*) FROM ledger_entries WHERE kind = 'debit'") == 150
    assert await owner.fetchval("SELECT count(*) FROM projects") == 150
    await processes.worker()
    await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"failed": 150}
    assert await rich.available() == 100_000


async def test_a_lost_workers_generation_is_taken_over_within_a_minute(
    alice: Member, processes: Processes, db: Database, owner: Any
) -> None:
    """With the settings as they are unless somebody sets them."""
    usual = {"TALLYFRAME_LEASE_SECONDS": "30", "TALLYFRAME_HEARTBEAT_SECONDS": "8"}
    first = await processes.worker(**usual)
    await alice.order("[hang:2] a cup")
    await until(lambda: owner.fetchval("SELECT count(*) FROM generation_steps"))
    first.send(signal.SIGKILL)
    lost = monotonic()
    await processes.worker(**usual)
    await until(lambda: owner.fetchval("SELECT count(*) FROM generations WHERE attempt = 2"), 60)
    assert monotonic() - lost < 60
    await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_seven_rolling_restarts_during_one_generation(
    alice: Member, processes: Processes, db: Database, owner: Any
) -> None:
    project = await alice.order("[hang:8] a cup")
    hasty = {"TALLYFRAME_SHUTDOWN_GRACE": "0.1"}
    worker = await processes.worker(**hasty)
    for _ in range(7):
        await until(lambda: owner.fetchval(RUNS))
        worker.send(signal.SIGTERM)
        worker = await processes.worker(**hasty)
    assert [await started.wait() for started in processes.started[:7]] == [0] * 7
    await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"succeeded": 1}
    assert (await alice.project(project["id"]))["generation"]["attempt"] == 8
    assert await alice.available() == 15


async def test_a_worker_that_was_frozen_beyond_its_lease_changes_nothing(
    alice: Member, processes: Processes, db: Database, owner: Any
) -> None:
    async def state() -> list[Any]:
        tables = ("generations", "projects", "ledger_entries", "assets", "accounts", "generation_steps")
        return [await owner.fetch(f"SELECT * FROM {table} ORDER BY 1") for table in tables]  # noqa: S608  # of ours

    frozen = await processes.worker()
    await alice.order("[hang:2] a cup")
    await until(lambda: owner.fetchval("SELECT count(*) FROM generation_steps"))
    frozen.send(signal.SIGSTOP)
    await processes.worker()
    await until_all_ended(owner)
    before = await state()
    frozen.send(signal.SIGCONT)
    await frozen.until_logged("generation_left")
    assert '"outcome": "claim_lost"' in frozen.text
    after = await state()
    assert after[:5] == before[:5]
    assert [row["state"] for row in after[5]].count("done") == 1
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_redis_frozen_for_half_a_minute(
    rich: Member, processes: Processes, db: Database, owner: Any, servers: Servers
) -> None:
    worker = await processes.worker()
    api, url = await processes.api()
    posts: list[float] = []
    gets: list[float] = []

    async def timed(request: Awaitable[httpx.Response], into: list[float], status: int) -> Any:
        started = monotonic()
        answer = await request
        into.append(monotonic() - started)
        assert answer.status_code == status, answer.text
        return answer.json()

    async def client(http: httpx.AsyncClient, end: float) -> None:
        while monotonic() < end:
            project = await timed(http.post("/v1/projects", json=ORDER), posts, 202)
            await timed(http.get(f"/v1/projects/{project['id']}"), gets, 200)
            await asyncio.sleep(0.2)

    async with writer(rich, url, 30) as through:
        servers.valkey.kill(signal.SIGSTOP)
        try:
            await asyncio.gather(*(client(through.http, monotonic() + 30) for _ in range(4)))
        finally:
            servers.valkey.kill(signal.SIGCONT)
    assert len(posts) > 100
    for name, waits in (("POST", posts), ("GET", gets)):
        assert sorted(waits)[len(waits) * 99 // 100] < 1, name
    await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"failed": len(posts)}
    assert worker.popen.poll() is None
    assert api.popen.poll() is None


async def healthy_again(url: str, within: float) -> float:
    """Ask until an API process says that it is ready; return how long that took."""
    started = monotonic()
    async with httpx.AsyncClient(base_url=url) as http:
        while (await http.get("/readyz")).status_code != 200:
            assert monotonic() - started < within
            await asyncio.sleep(0.05)
    return monotonic() - started


async def test_postgres_crashes_under_16_writers(
    rich: Member, processes: Processes, settings: Settings, servers: Servers
) -> None:
    worker: Process = await processes.worker()
    _, url = await processes.api()
    keys = [f"order-{number}" for number in range(400)]
    async with writer(rich, url, 30) as through:
        writing = asyncio.create_task(through.order_all(keys, clients=16))
        await until(lambda: asyncio.sleep(0, len(through.told) > 50))
        servers.postgres.kill()
        await servers.postgres.wait()
        acknowledged = dict(through.told)
        refused = await through.send("while it is away")
        assert refused is not None
        assert (refused.status_code, refused.json()["code"]) == (503, "unavailable")
        assert int(refused.headers["retry-after"]) > 0
        await servers.postgres.start()
        await healthy_again(url, 5)
        await writing
    assert 50 < len(acknowledged) < 400
    assert through.broken == 0, "with Postgres away, the API answers"
    assert acknowledged.items() <= through.told.items()
    database_url = settings.database_url.get_secret_value()
    db = Database(database_url, role=ADMIN_ROLE, pool_size=2, statement_timeout=15)
    async with owner_of(database_url) as owner:
        there = {row["id"] for row in await owner.fetch("SELECT id FROM generations")}
        assert there == {UUID(generation) for _, generation in through.told.values()}
        await until_all_ended(owner)
        assert await assert_books_balance(db, owner) == {"failed": 400}
    await db.close()
    assert worker.popen.poll() is None
