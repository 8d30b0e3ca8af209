"""A video that waits at a vendor is a row in the database: a hundred of them cost a worker next to nothing."""

import asyncio
from time import monotonic
from typing import Any

import psutil

from tests.support.books import until_all_ended
from tests.support.cast import Member
from tests.support.google_all import FakeGoogle
from tests.support.processes import Process, Processes

WAITING = 100
MOST = 20 * 1000 * 1000  # bytes


def memory(process: Process) -> int:
    return int(psutil.Process(process.popen.pid).memory_info().rss)


async def test_a_hundred_waiting_videos_cost_less_than_20_mb(
    rich: Member, processes: Processes, fake: FakeGoogle, owner: Any
) -> None:
    worker = await processes.worker(**fake.environment(PROVIDER_POLL="2"))
    fake.omni.runs = 2
    await asyncio.gather(*(rich.order(kind="video") for _ in range(20)))  # load all that the first ones need, once
    await until_all_ended(owner)
    await asyncio.sleep(1)
    without = memory(worker)

    fake.omni.runs = 1_000_000
    for _ in range(WAITING // 20):
        await asyncio.gather(*(rich.order(kind="video") for _ in range(20)))
    await until_polled_often(fake)
    assert await owner.fetchval("SELECT count(*) FROM generation_steps WHERE state = 'ticket'") == WAITING
    assert await owner.fetchval("SELECT count(*) FROM generations WHERE lease_until IS NOT NULL") < WAITING / 2
    assert memory(worker) - without < MOST


async def until_polled_often(fake: FakeGoogle) -> None:
    until = monotonic() + 300
    while sum(polls >= 3 for polls in fake.omni.polls.values()) < WAITING:
        assert monotonic() < until, fake.omni.polls
        await asyncio.sleep(0.1)
