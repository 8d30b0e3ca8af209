"""One wake-up fills all free slots; a full worker leaves it to others, and passes on what it has no slot for."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from tallyframe.generations.run.dispatch import Dispatcher
from tallyframe.generations.run.runner import Runner
from tallyframe.lanes import HANDLERS, Lane, run
from tallyframe.outbox.relay import WAKE_UP, WAKE_UP_EXPIRES, JobQueue, connect, put_wake_up, wake
from tallyframe.outbox.tables import RUN_GENERATION
from tallyframe.settings import Settings
from tests.support.cast import Member
from tests.support.working import Bench
from tests.support.writing import until

LEASED = "SELECT count(*) FROM generations WHERE lease_until IS NOT NULL"
LONG = "[hang:60] a cup"


@asynccontextmanager
async def dispatcher(runner: Runner, *, slots: int, most: int = 0) -> AsyncIterator[Dispatcher]:
    dispatcher = Dispatcher(runner, slots=slots, most=most or slots)
    try:
        yield dispatcher
    finally:
        await dispatcher.aclose(0)


async def until_leased(owner: Any, count: int) -> None:
    await until(lambda: owner.fetchval(f"SELECT ({LEASED}) = $1", count), 20)


async def polled(worker: Dispatcher, redis: JobQueue) -> bool:
    """Whether there is a wake-up after the worker has looked for one."""
    await worker.poll(redis)
    return bool(await redis.exists(WAKE_UP))


def eventually(condition: Callable[[], bool]) -> Awaitable[None]:
    return until(lambda: asyncio.sleep(0, condition()), 20)


async def test_any_number_of_orders_is_one_key_that_expires(rich: Member, redis: JobQueue) -> None:
    for _ in range(7):
        await rich.order()
    assert await redis.keys() == [WAKE_UP.encode()]
    assert 0 < await redis.pttl(WAKE_UP) <= WAKE_UP_EXPIRES


async def test_one_wake_up_fills_all_free_slots(rich: Member, bench: Bench, owner: Any, redis: JobQueue) -> None:
    for _ in range(6):
        await rich.order(LONG)
    async with dispatcher(bench.runner(), slots=5) as worker:
        await worker.poll(redis)
        await until_leased(owner, 5)
        assert not worker.has_room


async def test_the_last_slot_that_is_filled_passes_the_wake_up_on(
    rich: Member, bench: Bench, owner: Any, redis: JobQueue
) -> None:
    for _ in range(5):
        await rich.order(LONG)
    async with dispatcher(bench.runner(), slots=3) as full, dispatcher(bench.runner(), slots=3) as idle:
        await full.poll(redis)
        await until_leased(owner, 3)
        await until(lambda: polled(full, redis), 20)
        assert await polled(full, redis), "it doesn't take it itself"
        await idle.poll(redis)
        await until_leased(owner, 5)
        await eventually(lambda: idle.has_room)


async def test_a_full_worker_does_not_take_the_wake_up_from_an_idle_one(
    alice: Member, bench: Bench, owner: Any, redis: JobQueue
) -> None:
    await alice.order(LONG)
    async with dispatcher(bench.runner(), slots=1) as full, dispatcher(bench.runner(), slots=1) as idle:
        full.wake()
        await until_leased(owner, 1)
        await until(lambda: polled(full, redis), 20)  # it passes on what it was woken by
        await redis.delete(WAKE_UP)
        await alice.order(LONG)
        for _ in range(3):
            await full.poll(redis)
        assert await owner.fetchval(LEASED) == 1
        await idle.poll(redis)
        await until_leased(owner, 2)


async def test_a_worker_that_stops_takes_no_wake_up(alice: Member, bench: Bench, redis: JobQueue) -> None:
    await alice.order()
    async with dispatcher(bench.runner(), slots=1) as stopping:
        await stopping.aclose(0)
        await stopping.poll(redis)
        assert await redis.keys() == [WAKE_UP.encode()]


async def test_who_finds_nothing_passes_nothing_on(bench: Bench, redis: JobQueue) -> None:
    """Else two idle workers would wake each other for ever."""
    await put_wake_up(redis)
    async with dispatcher(bench.runner(), slots=1) as idle:
        await idle.poll(redis)
        await eventually(lambda: idle.has_room)
        await idle.poll(redis)
        assert await redis.keys() == []


async def test_without_a_wake_up_a_look_fills_all_free_slots(
    rich: Member, bench: Bench, owner: Any, redis: JobQueue
) -> None:
    for _ in range(4):
        await rich.order(LONG)
    await redis.flushall()
    async with dispatcher(bench.runner(), slots=3) as worker:
        await worker.look()
        await until_leased(owner, 3)


async def test_a_job_of_the_version_before_is_a_wake_up(alice: Member, bench: Bench, owner: Any) -> None:
    order = await alice.order(LONG)
    runner = bench.runner()
    async with dispatcher(runner, slots=1) as worker:
        await run(bench.tools(runner, worker), "run_generation", order["id"])
        await until_leased(owner, 1)


async def test_the_wake_up_is_said_within_its_limit_or_not_at_all(redis: JobQueue, settings: Settings) -> None:
    assert await wake(redis)
    nowhere = connect("redis://127.0.0.1:1")
    assert not await wake(nowhere)
    await nowhere.aclose(close_connection_pool=True)


def test_generations_have_a_lane_of_their_own() -> None:
    assert [kind for kind, (lane, _) in HANDLERS.items() if lane is Lane.GENERATIONS] == [RUN_GENERATION]
