"""What a worker does again and again outlives what fails, and ends also when its cancellation is lost."""

import asyncio
from itertools import pairwise
from time import monotonic

import pytest
from redis.exceptions import ConnectionError as RedisConnectionError

from tallyframe import worker
from tallyframe.errors import Unavailable
from tallyframe.servers.outage import Outage
from tallyframe.worker import repeat


async def test_a_loop_ends_although_its_cancellation_is_swallowed() -> None:
    ended, began = asyncio.Event(), asyncio.Event()

    async def swallow() -> None:
        began.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            return  # as Python 3.11's wait_for does, when the answer comes in the same moment

    loop = asyncio.create_task(repeat("deaf", 0.01, swallow, until=ended))
    await began.wait()
    ended.set()
    loop.cancel()
    async with asyncio.timeout(5):
        await loop


async def test_a_loop_that_rests_ends_at_once() -> None:
    ended = asyncio.Event()
    loop = asyncio.create_task(repeat("restful", 3600, lambda: asyncio.sleep(0), until=ended))
    await asyncio.sleep(0.01)
    ended.set()
    async with asyncio.timeout(5):
        await loop


async def test_a_loop_rests_while_postgres_takes_no_writes_although_its_rounds_swallow_that(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(worker, "LONG_PAUSE", 0.3)
    outage, ended, times = Outage("postgres"), asyncio.Event(), list[float]()

    async def swallow() -> None:
        times.append(monotonic())
        outage.note("its disk is full", refuses_writes=True)
        if len(times) == 3:
            ended.set()

    async with asyncio.timeout(30):
        await repeat("patient", 0.01, swallow, until=ended, outages=[outage])
    assert all(later - earlier > 0.25 for earlier, later in pairwise(times))


async def test_a_loop_outlives_every_failure_and_rests_after_it() -> None:
    ended, times = asyncio.Event(), list[float]()
    failures = iter([Unavailable("away"), RedisConnectionError("away"), ZeroDivisionError("a bug")])

    async def fail() -> None:
        times.append(monotonic())
        if failure := next(failures, None):
            raise failure
        ended.set()

    async with asyncio.timeout(30):
        await repeat("failing", 0.01, fail, until=ended)
    assert len(times) == 4
    assert all(later - earlier > 0.5 for earlier, later in pairwise(times))
