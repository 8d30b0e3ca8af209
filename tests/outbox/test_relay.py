"""Rows that are due come to Redis: generations as one wake-up, others one by one, and never more than it is to hold."""

import asyncio
import time
from typing import Any
from uuid import UUID

import pytest
from arq import connections
from sqlalchemy.dialects import postgresql

from tallyframe.db import Database
from tallyframe.ids import new_id
from tallyframe.outbox.jobs import JobWorker
from tallyframe.outbox.relay import (
    _GENERATION_IS_DUE,
    AGAIN_AFTER_MOST,
    QUEUE,
    QUEUE_LIMIT,
    WAKE_UP,
    JobQueue,
    _mark_enqueued,
    relay,
)

KINDS = ("withdraw", "erase_project_files")
QUEUES = {QUEUE: KINDS}
PUT = """
    INSERT INTO outbox (kind, ref, due_at)
    SELECT $1, gen_random_uuid(), now() + make_interval(secs => $3) FROM generate_series(1, $2)"""
RINGS = "SELECT kind, sum(rings) AS rings FROM outbox GROUP BY kind"


async def put(owner: Any, kind: str, count: int = 1, *, due_in: float = 0.0) -> None:
    await owner.execute(PUT, kind, count, due_in)


async def rings(owner: Any) -> dict[str, int]:
    return {row["kind"]: row["rings"] for row in await owner.fetch(RINGS)}


async def test_generations_that_are_due_are_one_wake_up(worker_db: Database, redis: JobQueue, owner: Any) -> None:
    await put(owner, "run_generation", 500)
    for _ in range(3):
        assert await relay(worker_db, redis, QUEUES) == 0
        assert await redis.keys() == [WAKE_UP.encode()]
    assert await rings(owner) == {"run_generation": 0}


async def test_generations_that_wait_wake_nobody(worker_db: Database, redis: JobQueue, owner: Any) -> None:
    await put(owner, "run_generation", 3, due_in=60)
    assert await relay(worker_db, redis, QUEUES) == 0
    assert await redis.keys() == []


async def test_jobs_are_not_behind_generations(worker_db: Database, redis: JobQueue, owner: Any) -> None:
    await put(owner, "run_generation", 1000, due_in=-60)
    await put(owner, "withdraw")
    await put(owner, "erase_project_files")
    assert await relay(worker_db, redis, QUEUES) == 2
    assert sorted(job.function for job in await redis.queued_jobs()) == ["erase_project_files", "withdraw"]
    assert await rings(owner) == {"run_generation": 0, "withdraw": 1, "erase_project_files": 1}


@pytest.mark.parametrize("minutes", [-10, 10])
async def test_clocks_that_differ_keep_no_job_from_a_worker(
    worker_db: Database, redis: JobQueue, owner: Any, monkeypatch: pytest.MonkeyPatch, minutes: int
) -> None:
    """Who enqueues has another time than who works."""
    await put(owner, "erase_project_files", 3)
    monkeypatch.setattr(connections, "timestamp_ms", lambda: int((time.time() + minutes * 60) * 1000))
    assert await relay(worker_db, redis, QUEUES) == 3
    called = list[UUID]()

    async def run(_: str, ref: UUID) -> None:
        called.append(ref)

    worker = JobWorker(redis, KINDS, run, slots=5)
    async with asyncio.timeout(10):
        while len(called) < 3:
            await worker.poll()
            await asyncio.sleep(0.01)
    await worker.aclose(1)
    assert set(called) == {row["ref"] for row in await owner.fetch("SELECT ref FROM outbox")}


async def test_a_job_is_enqueued_again_only_after_a_while(worker_db: Database, redis: JobQueue, owner: Any) -> None:
    await put(owner, "withdraw")
    assert [await relay(worker_db, redis, QUEUES) for _ in range(2)] == [1, 0]
    await owner.execute("UPDATE outbox SET due_at = now()")
    assert await relay(worker_db, redis, QUEUES) == 1
    assert await redis.zcard(QUEUE) == 2


async def test_kinds_that_no_handler_is_known_for_are_left_to_who_knows_one(
    worker_db: Database, redis: JobQueue, owner: Any
) -> None:
    await put(owner, "of_the_next_version")
    await put(owner, "withdraw")
    assert await relay(worker_db, redis, QUEUES) == 1
    assert await rings(owner) == {"of_the_next_version": 0, "withdraw": 1}


async def test_redis_holds_only_so_many_and_of_the_others_no_try_is_counted(
    worker_db: Database, redis: JobQueue, owner: Any
) -> None:
    await put(owner, "withdraw", QUEUE_LIMIT + 50)
    assert [await relay(worker_db, redis, QUEUES) for _ in range(2)] == [QUEUE_LIMIT, 0]
    assert await redis.zcard(QUEUE) == QUEUE_LIMIT
    assert await rings(owner) == {"withdraw": QUEUE_LIMIT}
    await redis.zpopmin(QUEUE, 20)
    assert await relay(worker_db, redis, QUEUES) == 20


async def test_what_was_enqueued_for_days_keeps_nobody_else_waiting(
    worker_db: Database, redis: JobQueue, owner: Any
) -> None:
    await owner.execute("INSERT INTO outbox (kind, ref, rings) VALUES ('erase_project_files', $1, 5000)", new_id())
    await put(owner, "withdraw")
    assert await relay(worker_db, redis, QUEUES) == 2
    wait = "SELECT extract(epoch FROM due_at - now()) FROM outbox WHERE rings > 5000"
    assert AGAIN_AFTER_MOST - 10 < await owner.fetchval(wait) <= AGAIN_AFTER_MOST


@pytest.mark.parametrize(
    ("question", "index"),
    [(_GENERATION_IS_DUE, "ix_outbox_due_generations"), (_mark_enqueued(KINDS, 9), "ix_outbox_due_jobs")],
    ids=["generations", "jobs"],
)
async def test_no_question_reads_the_whole_table(owner: Any, question: Any, index: str) -> None:
    """As the planner sees it, for a table of which one part is large and the other small."""
    await put(owner, "run_generation", 20_000, due_in=60)
    await put(owner, "withdraw", 5)
    await owner.execute("ANALYZE outbox")
    dialect = postgresql.dialect()  # type: ignore[no-untyped-call]
    words = question.compile(dialect=dialect, compile_kwargs={"literal_binds": True})
    plan = "\n".join(row[0] for row in await owner.fetch(f"EXPLAIN {words}"))
    assert f"using {index}" in plan, plan
    assert "Seq Scan" not in plan, plan
