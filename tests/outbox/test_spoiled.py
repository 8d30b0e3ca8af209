"""What lies in Redis and is no work of ours stops no erasure and no withdrawal: it is removed, and told of."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any
from uuid import UUID

import msgpack
import pytest
from redis.exceptions import ResponseError
from structlog.testing import capture_logs

from tallyframe import lanes, worker
from tallyframe.db import Database
from tallyframe.outbox.relay import QUEUE, QUEUE_LIMIT, WAKE_UP, WITHDRAWALS, JobQueue, put_wake_up, relay, take_wake_up
from tallyframe.outbox.spoiled import drop_key

PUT = (
    "INSERT INTO outbox (kind, ref) VALUES ('erase_project_files', gen_random_uuid()), ('withdraw', gen_random_uuid())"
)
JOB = msgpack.packb({"t": None, "f": "erase_project_files", "a": [str(UUID(int=1))], "k": {}, "et": 1})
MANY = QUEUE_LIMIT + 5


class Lanes:
    """The relay and the job workers of a process, which note what they run."""

    def __init__(self, db: Database, redis: JobQueue) -> None:
        self.db, self.redis = db, redis
        self.called: list[tuple[str, UUID]] = []
        self.jobs = worker.job_workers(redis, self._run, 4)

    async def _run(self, kind: str, ref: UUID) -> None:
        self.called.append((kind, ref))

    async def work_off(self, owner: Any) -> None:
        """Put a row into each queue, and do rounds until all rows of the outbox have been run, and Redis is empty."""
        await owner.execute(PUT)
        rows = {(row["kind"], row["ref"]) for row in await owner.fetch("SELECT kind, ref FROM outbox")}
        async with asyncio.timeout(20):
            while not rows.issubset(self.called) or await self.redis.keys():
                await relay(self.db, self.redis, lanes.QUEUES)
                for each in self.jobs:
                    await each.poll()
                await asyncio.sleep(0.01)


@pytest.fixture
async def all_lanes(worker_db: Database, redis: JobQueue) -> AsyncIterator[Lanes]:
    made = Lanes(worker_db, redis)
    yield made
    for each in made.jobs:
        await each.aclose(1)


async def a_list(redis: JobQueue, key: str) -> None:
    await redis.execute_command("LPUSH", key, "x")


async def a_text(redis: JobQueue, key: str) -> None:
    await redis.set(key, "x")


@pytest.mark.parametrize("kind", [a_list, a_text])
@pytest.mark.parametrize("key", [QUEUE, WITHDRAWALS, "arq:abort"])
async def test_a_key_of_another_type_is_removed_and_told_of_once(
    all_lanes: Lanes, owner: Any, kind: Callable[[JobQueue, str], Awaitable[None]], key: str
) -> None:
    await kind(all_lanes.redis, key)
    with capture_logs() as logs:
        await all_lanes.work_off(owner)
    assert [(line["event"], line["key"]) for line in logs] == [("job_dropped", key)]
    assert not all_lanes.redis.outage.is_on


async def test_whoever_comes_second_to_a_spoiled_key_says_nothing(redis: JobQueue) -> None:
    await a_list(redis, "arq:abort")
    await asyncio.gather(*(redis.ping() for _ in range(20)))  # so many connections are open
    with capture_logs() as logs:
        await asyncio.gather(*(drop_key(redis, "arq:abort", unless="zset") for _ in range(20)))
    assert [line["event"] for line in logs] == ["job_dropped"]
    assert not await redis.exists("arq:abort")


async def test_a_wake_up_of_another_type_keeps_no_worker_from_being_woken(redis: JobQueue) -> None:
    await a_list(redis, WAKE_UP)
    assert not await take_wake_up(redis)
    await a_list(redis, WAKE_UP)
    await put_wake_up(redis)
    assert await take_wake_up(redis)


@pytest.mark.parametrize("queue", [QUEUE, WITHDRAWALS])
@pytest.mark.parametrize("score", [0, -1, float("-inf")])
async def test_entries_that_arq_passes_over_take_no_room(
    all_lanes: Lanes, owner: Any, queue: str, score: float
) -> None:
    await all_lanes.redis.zadd(queue, {f"z{number}": score for number in range(MANY)})
    with capture_logs() as logs:
        await all_lanes.work_off(owner)
    assert [(line["event"], line["key"], line["count"]) for line in logs] == [("job_dropped", queue, MANY)]


async def for_ever(redis: JobQueue, key: str) -> None:
    await redis.set(key, "1")


async def for_hours(redis: JobQueue, key: str) -> None:
    await redis.set(key, "1", ex=7200)


@pytest.mark.parametrize("mark", [for_ever, for_hours, a_list])
async def test_entries_that_seem_to_run_for_ever_take_no_room(
    all_lanes: Lanes, owner: Any, mark: Callable[[JobQueue, str], Awaitable[None]]
) -> None:
    for number in range(MANY):
        await all_lanes.redis.set(f"arq:job:p{number}", JOB)
        await mark(all_lanes.redis, f"arq:in-progress:p{number}")
    await all_lanes.redis.zadd(QUEUE, {f"p{number}": 3 for number in range(MANY)})
    with capture_logs() as logs:
        await all_lanes.work_off(owner)
    assert [(line["event"], line["count"]) for line in logs] == [("job_dropped", MANY)]


async def test_what_really_runs_stays(all_lanes: Lanes, owner: Any) -> None:
    await all_lanes.redis.zadd(QUEUE, {"mine": 3})
    await all_lanes.redis.set("arq:in-progress:mine", "1", ex=610)
    await owner.execute(PUT)
    assert await relay(all_lanes.db, all_lanes.redis, lanes.QUEUES) == 2
    assert await all_lanes.redis.zscore(QUEUE, "mine") == 3


COUNTERS = {"word": b"abc", "empty": b"", "fraction": b"1.5", "most": str(2**63 - 1).encode(), "more": b"9" * 30}


@pytest.mark.parametrize("tries", COUNTERS.values(), ids=COUNTERS)
async def test_tries_that_can_not_be_counted_drop_their_job(all_lanes: Lanes, owner: Any, tries: bytes) -> None:
    for number in range(MANY):
        await all_lanes.redis.set(f"arq:job:e{number}", JOB)
        await all_lanes.redis.set(f"arq:retry:e{number}", tries)
    await all_lanes.redis.zadd(QUEUE, {f"e{number}": 5 for number in range(MANY)})
    with capture_logs() as logs:
        await all_lanes.work_off(owner)
    assert [line["event"] for line in logs] == ["job_dropped"] * MANY


@pytest.mark.parametrize("key", ["arq:job:e", "arq:retry:e"])
async def test_a_job_with_a_key_of_another_type_is_dropped(all_lanes: Lanes, owner: Any, key: str) -> None:
    await all_lanes.redis.set("arq:job:e", JOB)
    await all_lanes.redis.delete(key)
    await a_list(all_lanes.redis, key)
    await all_lanes.redis.zadd(QUEUE, {"e": 5})
    with capture_logs() as logs:
        await all_lanes.work_off(owner)
    assert [line["event"] for line in logs] == ["job_dropped"]


async def test_a_queue_that_redis_refuses_keeps_no_other_waiting(
    all_lanes: Lanes, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = JobQueue.execute_command

    async def refuse(redis: JobQueue, *arguments: Any, **options: Any) -> Any:
        if QUEUE in arguments:
            raise ResponseError("NOPERM this user has no permissions to access one of the keys")
        return await asked(redis, *arguments, **options)

    await owner.execute(PUT)
    with monkeypatch.context() as patched:
        patched.setattr(JobQueue, "execute_command", refuse)
        with pytest.raises(ResponseError):
            await relay(all_lanes.db, all_lanes.redis, lanes.QUEUES)
    assert await all_lanes.redis.zcard(WITHDRAWALS) == 1
