"""Redis frozen, Postgres crashed: the API answers, says so, and is well again by itself."""

import asyncio
import signal
from collections.abc import Awaitable
from time import monotonic
from typing import Any
from uuid import UUID

import httpx

from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.embedded import Servers
from tallyframe.settings import Settings
from tests.conftest import owner_of
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.processes import Process, Processes
from tests.support.writing import ORDER, until, writer


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
    database_url = settings.server.database_url.get_secret_value()
    db = Database(database_url, role=ADMIN_ROLE, pool_size=2, statement_timeout=15)
    async with owner_of(database_url) as owner:
        there = {row["id"] for row in await owner.fetch("SELECT id FROM generations")}
        assert there == {UUID(generation) for _, generation in through.told.values()}
        await until_all_ended(owner)
        assert await assert_books_balance(db, owner) == {"failed": 400}
    await db.close()
    assert worker.popen.poll() is None
