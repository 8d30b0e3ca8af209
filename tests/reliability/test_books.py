"""Real worker processes, killed and cut off; the books balance whatever happens."""

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from time import monotonic
from typing import Any

import pytest

from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.embedded import Servers
from tallyframe.errors import FailureCode
from tallyframe.settings import Settings
from tests.conftest import ClientFor, enroll, owner_of
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.processes import Processes

CARDS = ["", "[delay:0.3] ", "[flaky:1] ", "[empty] ", *(f"[fail:{code.value}] " for code in FailureCode)]

#: Seconds beyond what it takes with Redis: who waits for it waits for 2 to connect, or for 5 to be answered.
AT_ONCE = 1.5


async def test_200_mixed_orders_through_two_workers(
    rich: Member, alice: Member, processes: Processes, db: Database, owner: Any
) -> None:
    await asyncio.gather(processes.worker(), processes.worker())
    orders = [CARDS[number % len(CARDS)] + f"cup {number}" for number in range(200)]
    for start in range(0, 200, 20):
        await asyncio.gather(*(rich.order(prompt) for prompt in orders[start : start + 20]))
    await until_all_ended(owner, 120)

    expected_failures = sum(prompt.startswith(("[fail", "[empty")) for prompt in orders)
    assert await assert_books_balance(db, owner) == {"succeeded": 200 - expected_failures, "failed": expected_failures}
    assert await rich.available() == 100_000 - 5 * (200 - expected_failures)
    assert await alice.available() == 20

    verify = processes.start("ledger", "verify")
    assert await verify.wait() == 0
    assert "The books balance." in verify.text
    workers = await owner.fetchval("SELECT count(DISTINCT worker) FROM generations")
    assert workers == 2


async def test_seven_credits_buy_exactly_one_of_twenty_images(db: Database, client_for: ClientFor, owner: Any) -> None:
    poor = await enroll(db, client_for, "poor@example.com", 7)
    order = {"kind": "image", "prompt": "a cup"}
    answers = await asyncio.gather(*(poor.http.post("/v1/projects", json=order) for _ in range(20)))

    assert sorted(answer.status_code for answer in answers) == [202, *[402] * 19]
    refused = next(answer.json() for answer in answers if answer.status_code == 402)
    assert (refused["code"], refused["required"], refused["available"]) == ("insufficient_credits", 5, 2)
    assert await poor.available() == 2
    assert await owner.fetchval("SELECT count(*) FROM projects") == 1
    assert await owner.fetchval("SELECT count(*) FROM outbox") == 1


async def test_a_worker_killed_in_an_image_and_in_a_waiting_video(
    alice: Member, processes: Processes, db: Database, owner: Any
) -> None:
    worker = await processes.worker()
    image = await alice.order("[hang:3] a cup")
    video = await alice.order("[delay:3] a cup", kind="video", duration_seconds=1)
    steps = "SELECT count(*) FROM generation_steps WHERE state = ANY($1::text[])"
    held = "SELECT count(*) FROM generations WHERE operation = 'video' AND lease_until IS NOT NULL"
    while await owner.fetchval(steps, ["intent", "ticket"]) < 2 or await owner.fetchval(held):
        await asyncio.sleep(0.05)
    ticket = await owner.fetchval("SELECT ticket FROM generation_steps WHERE ticket IS NOT NULL")
    worker.send(signal.SIGKILL)
    await worker.wait()

    await processes.worker()
    await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"succeeded": 2}
    assert await alice.available() == 5
    assert (await alice.project(image["id"]))["generation"]["attempt"] == 2
    assert (await alice.project(video["id"]))["generation"]["attempt"] == 1
    bought = await owner.fetch("SELECT ticket, state FROM generation_steps WHERE name = 'video'")
    assert [(row["ticket"], row["state"]) for row in bought] == [(ticket, "done")]


async def test_redis_that_forgets_everything_costs_seconds_and_no_job(
    rich: Member, processes: Processes, db: Database, owner: Any, servers: Servers
) -> None:
    for _ in range(5):
        await asyncio.gather(*(rich.order() for _ in range(10)))
    from redis.asyncio import Redis

    async with Redis.from_url(servers.redis_url) as redis:
        assert await redis.keys() == [b"tallyframe:wake"]
        await redis.flushall()

    started = monotonic()
    await processes.worker()
    await until_all_ended(owner, 90)
    assert await assert_books_balance(db, owner) == {"succeeded": 50}
    assert monotonic() - started < 60


@asynccontextmanager
async def frozen(servers: Servers) -> AsyncIterator[None]:
    servers.valkey.kill(signal.SIGSTOP)
    try:
        yield
    finally:
        servers.valkey.kill(signal.SIGCONT)


@asynccontextmanager
async def stopped(servers: Servers) -> AsyncIterator[None]:
    await servers.valkey.stop()
    try:
        yield
    finally:
        await servers.valkey.start()


async def slowest_of(member: Member, clients: int) -> float:
    """Order once from each of so many clients at once; return the seconds that the slowest waited."""

    async def order() -> float:
        started = monotonic()
        await member.order()
        return monotonic() - started

    return max(await asyncio.gather(*(order() for _ in range(clients))))


@pytest.mark.parametrize("without_redis", [frozen, stopped])
async def test_without_redis_orders_are_still_taken_at_once(
    rich: Member, processes: Processes, db: Database, owner: Any, servers: Servers, without_redis: Any
) -> None:
    usual = await slowest_of(rich, 20)  # this machine may be busy with other things
    worker = await processes.worker()
    async with without_redis(servers):
        for _ in range(5):
            assert await slowest_of(rich, 1) < usual + AT_ONCE
        assert await slowest_of(rich, 20) < usual + AT_ONCE
        ready = await rich.http.get("/readyz")
        assert (ready.status_code, ready.json()["redis"]) == (503, "unreachable")
    await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"succeeded": 45}
    assert worker.popen.poll() is None  # it outlived the outage
    assert (await rich.http.get("/readyz")).status_code == 200


async def test_postgres_that_crashes_costs_nobody_a_credit(
    rich: Member, processes: Processes, settings: Settings, servers: Servers
) -> None:
    worker = await processes.worker()
    await asyncio.gather(*(rich.order("[delay:1] a cup") for _ in range(10)))
    servers.postgres.kill()
    await servers.postgres.wait()
    answer = await rich.http.post("/v1/projects", json={"kind": "image", "prompt": "a cup"})
    assert (answer.status_code, answer.json()["code"]) == (503, "unavailable")
    assert int(answer.headers["retry-after"]) > 0
    assert (await rich.http.get("/readyz")).json()["postgres"] == "unreachable"

    await servers.postgres.start()
    started = monotonic()
    while (await rich.http.post("/v1/projects", json={"kind": "image", "prompt": "a cup"})).status_code != 202:
        assert monotonic() - started < 30
    url = settings.server.database_url.get_secret_value()
    db = Database(url, role=ADMIN_ROLE, pool_size=2, statement_timeout=15)
    async with owner_of(url) as owner:
        await until_all_ended(owner)
        assert await assert_books_balance(db, owner) == {"succeeded": 11}
    await db.close()
    assert worker.popen.poll() is None


async def test_a_worker_asked_to_stop_finishes_what_it_runs(
    alice: Member, processes: Processes, db: Database, owner: Any
) -> None:
    worker = await processes.worker()
    await alice.order("[hang:1] a cup")
    while not await owner.fetchval("SELECT count(*) FROM generation_steps"):
        await asyncio.sleep(0.05)
    worker.send(signal.SIGTERM)
    assert await worker.wait() == 0
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_logs_tell_the_story_and_no_secret(
    alice: Member, processes: Processes, db: Database, owner: Any, servers: Servers
) -> None:
    import httpx

    worker = await processes.worker()
    api, url = await processes.api()
    headers = {"Authorization": f"Bearer {alice.key}", "X-Request-Id": "my-request-1"}
    async with httpx.AsyncClient(base_url=url, headers=headers) as client:
        answer = await client.post("/v1/projects", json={"kind": "image", "prompt": "[fail:internal] a canary prompt"})
    await until_all_ended(owner)
    await worker.until_logged("generation_left")
    events = [json.loads(line) for line in (api.text + worker.text).splitlines() if line.startswith("{")]
    request = next(event for event in events if event["event"] == "request" and event["path"] == "/v1/projects")
    assert (request["request_id"], request["user_id"], request["status"]) == ("my-request-1", str(alice.user.id), 202)
    left = next(event for event in events if event["event"] == "generation_left")
    assert left["generation_id"] == answer.json()["generation"]["id"]
    assert (left["user_id"], left["operation"], left["outcome"]) == (str(alice.user.id), "image", "failed")
    secrets = [alice.key, "canary prompt", servers.database_url.split(":")[2].split("@")[0]]
    assert [secret for secret in secrets if secret in api.text + worker.text] == []
