"""Real workers full of generations: everything else is done all the same, and Redis holds next to nothing."""

import asyncio
import signal
from typing import Any
from uuid import UUID

import msgpack

from tallyframe.db import API_ROLE, Database
from tallyframe.embedded import Servers
from tallyframe.generations.end import erase
from tallyframe.ids import new_id
from tallyframe.outbox.relay import QUEUE, WAKE_UP, WAKE_UP_EXPIRES, JobQueue, put_wake_up
from tests.conftest import acting_as
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.processes import Process, Processes
from tests.support.working import Bench
from tests.support.writing import until

LONG = "[hang:300] a cup"
LEASED = "SELECT count(*) FROM generations WHERE lease_until > now()"
OTHER_WORK = "SELECT count(*) FROM outbox WHERE kind <> 'run_generation'"


async def is_empty(redis: JobQueue) -> bool:
    return not await redis.keys()


async def full_worker(member: Member, processes: Processes, owner: Any, slots: int) -> tuple[Process, list[str]]:
    """A worker all of whose slots are busy for minutes, and the projects that keep them busy."""
    settings = {f"TALLYFRAME_WORKER_{name}": str(slots) for name in ("CONCURRENCY", "USER_SLOTS")}
    worker = await processes.worker(**settings)
    projects = [(await member.order(LONG))["id"] for _ in range(slots)]
    await until(lambda: owner.fetchval(f"SELECT ({LEASED}) = $1", slots))
    return worker, projects


async def cancel(member: Member, project_id: str) -> None:
    assert (await member.http.post(f"/v1/projects/{project_id}/cancel")).status_code == 200


async def test_a_worker_full_of_generations_erases_and_withdraws_and_fills_no_queue(
    rich: Member, alice: Member, bench: Bench, processes: Processes, db: Database, owner: Any, redis: JobQueue
) -> None:
    erased = await alice.order()
    await bench.drain()
    at_vendor = await alice.order("[delay:600] a cup", kind="video", duration_seconds=1)
    assert await bench.runner().run(UUID(at_vendor["generation"]["id"])) == "snoozed"
    worker, projects = await full_worker(rich, processes, owner, 10)
    for _ in range(15):
        await asyncio.gather(*(rich.order("[fail:content_policy] a cup") for _ in range(20)))
        assert await redis.zcard(QUEUE) < 100

    # As by an API process that dies before it removes the media itself.
    async with acting_as(API_ROLE, bench.settings) as api:
        assert await erase.delete(api.as_user(alice.user.id), alice.user.id, UUID(erased["id"]))
    await cancel(alice, at_vendor["id"])
    await until(lambda: owner.fetchval(f"SELECT ({OTHER_WORK}) = 0"), 10)
    assert await owner.fetchval("SELECT count(*) FROM assets") == 0
    assert await owner.fetchval("SELECT state FROM generation_steps WHERE ticket IS NOT NULL") == "withdrawn"
    assert await owner.fetchval(LEASED) == 10
    assert await redis.zcard(QUEUE) < 100

    for project_id in projects:
        await cancel(rich, project_id)
    await until_all_ended(owner)
    await until(lambda: is_empty(redis), WAKE_UP_EXPIRES / 1000 + 1)
    assert await assert_books_balance(db, owner) == {"succeeded": 1, "failed": 300, "canceled": 11}
    assert worker.popen.poll() is None


async def test_a_full_worker_leaves_the_wake_up_to_one_that_starts(
    rich: Member, processes: Processes, owner: Any, redis: JobQueue
) -> None:
    await full_worker(rich, processes, owner, 1)
    await redis.delete(WAKE_UP)
    await put_wake_up(redis)
    await asyncio.sleep(1)  # twenty looks of the full one
    assert await redis.exists(WAKE_UP)
    await put_wake_up(redis)
    await processes.worker()
    await until(lambda: is_empty(redis), WAKE_UP_EXPIRES / 2000)


async def test_a_worker_takes_jobs_of_the_version_before_and_survives_what_is_none(
    alice: Member, processes: Processes, owner: Any, redis: JobQueue
) -> None:
    worker = await processes.worker()
    job: dict[str, Any] = {"t": None, "f": "withdraw", "a": [str(new_id())], "k": {}, "et": 1}
    poisons: list[dict[str, Any]] = [{"f": ["x"]}, {"f": {}}, {"t": msgpack.ExtType(1, b"")}, {"et": "x"}]
    for number, wrong in enumerate(poisons):
        await redis.set(f"arq:job:poison-{number}", msgpack.packb(job | wrong))
        await redis.zadd(QUEUE, {f"poison-{number}": 1.0})
    await redis.zadd(QUEUE, {b"\xff\xfe": 1.0})
    for _ in range(50):
        await redis.enqueue_job("run_generation", str(new_id()))
    await owner.execute("INSERT INTO outbox (kind, ref) VALUES ('erase_project_files', $1)", new_id())
    await until(lambda: owner.fetchval(f"SELECT ({OTHER_WORK}) = 0"), 20)
    await until(lambda: is_empty(redis), 20)
    assert worker.popen.poll() is None
    assert "not found" not in worker.text
    await alice.order("[fail:content_policy] a cup")
    await until_all_ended(owner, 20)


async def test_a_worker_ends_in_time_while_redis_is_frozen(
    alice: Member, processes: Processes, owner: Any, servers: Servers
) -> None:
    worker = await processes.worker(TALLYFRAME_SHUTDOWN_GRACE="1")
    servers.valkey.kill(signal.SIGSTOP)
    try:
        await asyncio.sleep(2)  # it waits for answers by now
        worker.send(signal.SIGTERM)
        assert await worker.wait(11) == 0  # its grace, and ten seconds more
    finally:
        servers.valkey.kill(signal.SIGCONT)
    assert await owner.fetchval("SELECT count(*) FROM workers") == 0
