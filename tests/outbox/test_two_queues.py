"""Withdrawals have a queue and slots of their own: a vendor that hangs keeps no erasure and no webhook waiting."""

import asyncio
from typing import Any
from uuid import UUID

from tallyframe import lanes, worker
from tallyframe.db import Database
from tallyframe.ids import new_id
from tallyframe.outbox.relay import QUEUE, WITHDRAWALS, JobQueue, relay

PUT = """
    INSERT INTO outbox (kind, ref, due_at)
    SELECT $1, gen_random_uuid(), now() - interval '1 min' FROM generate_series(1, $2)"""
OTHERS = {"erase_project_files", "apply_webhook"}


async def test_a_vendor_that_hangs_delays_nothing_else(worker_db: Database, redis: JobQueue, owner: Any) -> None:
    begun: list[str] = []

    async def run(kind: str, _: UUID) -> None:
        begun.append(kind)
        if kind == "withdraw":
            await asyncio.get_running_loop().create_future()

    jobs = worker.job_workers(redis, run, 1)

    async def round_of_the_worker() -> int:
        await relay(worker_db, redis, lanes.QUEUES)
        for each in jobs:
            await each.poll()
        return int(await redis.zcard(QUEUE)) + int(await redis.zcard(WITHDRAWALS))

    await owner.execute(PUT, "withdraw", 250)
    assert 0 < await round_of_the_worker() < 100
    for kind in OTHERS:
        await owner.execute("INSERT INTO outbox (kind, ref) VALUES ($1, $2)", kind, new_id())
    async with asyncio.timeout(10):
        while set(begun) < {"withdraw", *OTHERS}:
            assert await round_of_the_worker() < 100
            await asyncio.sleep(0.01)
    await asyncio.gather(*(each.aclose(0) for each in jobs))
    assert begun.count("withdraw") == 1


async def test_all_queues_together_hold_less_than_a_hundred_jobs(
    worker_db: Database, redis: JobQueue, owner: Any
) -> None:
    for kind in ("withdraw", *OTHERS):
        await owner.execute(PUT, kind, 250)
    for _ in range(3):
        await relay(worker_db, redis, lanes.QUEUES)
    assert 0 < await redis.zcard(QUEUE) + await redis.zcard(WITHDRAWALS) < 100
