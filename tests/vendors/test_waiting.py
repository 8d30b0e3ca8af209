"""A video that waits at a vendor is a row in the database: a hundred of them cost a worker next to nothing."""

import asyncio
from time import monotonic
from typing import Any

import psutil

from tests.support.cast import Member
from tests.support.google_all import FakeGoogle
from tests.support.processes import Process, Processes

FIRST, WAITING = 40, 100
MOST = 20 * 1000 * 1000  # bytes
#: Seconds for which memory must not grow by so many bytes; a worker sweeps every five seconds.
STEADY, STEADY_WITHIN = 12.0, 500_000


def memory(process: Process) -> int:
    return int(psutil.Process(process.popen.pid).memory_info().rss)


async def test_a_hundred_more_waiting_videos_cost_less_than_20_mb(
    rich: Member, processes: Processes, fake: FakeGoogle, owner: Any
) -> None:
    worker = await processes.worker(**fake.environment(PROVIDER_POLL="2"))
    fake.omni.runs = 1_000_000
    await order(rich, FIRST)  # load all that waiting needs, once
    await until_polled_often(fake, FIRST)
    without = await steady_memory(worker)
    await order(rich, WAITING)
    await until_polled_often(fake, FIRST + WAITING)
    assert await owner.fetchval("SELECT count(*) FROM generation_steps WHERE state = 'ticket'") == FIRST + WAITING
    assert await owner.fetchval("SELECT count(*) FROM generations WHERE lease_until IS NOT NULL") < WAITING / 2
    assert memory(worker) - without < MOST


async def steady_memory(worker: Process) -> int:
    """What it takes when it has done all that it does now and then, and takes no more."""
    most, since = memory(worker), monotonic()
    until = since + 200
    while monotonic() - since < STEADY:
        assert monotonic() < until, most
        await asyncio.sleep(0.5)
        if memory(worker) > most + STEADY_WITHIN:
            most, since = memory(worker), monotonic()
    return memory(worker)


async def order(member: Member, count: int) -> None:
    for _ in range(count // 20):
        await asyncio.gather(*(member.order(kind="video") for _ in range(20)))


async def until_polled_often(fake: FakeGoogle, count: int) -> None:
    until = monotonic() + 300
    while sum(polls >= 3 for polls in fake.omni.polls.values()) < count:
        assert monotonic() < until, fake.omni.polls
        await asyncio.sleep(0.1)
