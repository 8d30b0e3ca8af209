"""How many generations workers get done: one against arq, and two against one."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from functools import partial
from time import perf_counter

import asyncpg

from bench import orders
from bench.peers import queue
from bench.rounds import interleave
from bench.rows import Against, Row, Target, row
from bench.scenarios.context import Context, Main
from bench.site import Site
from bench.until import until

#: Seconds for which slow orders take a slot, and next to no processor time: then slots are the limit, not the cores.
#: They differ, so that slots don't become free in step.
_SLOW = (0.3, 0.7)
_AT_ONCE = 100  # jobs of arq that are enqueued side by side
_JOBS_PER_SECOND = 2500  # that are enqueued: more than arq drains here
_LOOK = 0.1  # seconds
_TRY_AGAIN = 0.01  # arq's delay where it is to be as fast as it can
_ENDED = "SELECT count(*) FROM generations WHERE status = 'succeeded'"
_LEFT = "SELECT count(*) FROM generations WHERE status IN ('pending', 'processing')"


async def pipeline(context: Context) -> AsyncIterator[Row]:
    """Orders that wait, a vendor that takes no time, one worker; against jobs that do nothing, and one of arq's."""
    main = await context.main()
    measured = {
        "pipeline": partial(_orders_per_second, context, main),
        "arq": partial(_jobs_per_second, context, main.site),
        "arq, at its limit": partial(_jobs_per_second, context, main.site, poll_delay=_TRY_AGAIN),
    }
    found = await interleave(context.rounds, measured)
    # arq as it is drains so many jobs per look into its queue; at its limit it looks all the time.
    for peer, target in (("arq", Target("ratio", at_least=0.30)), ("arq, at its limit", None)):
        yield row("pipeline", "rate", "per s", found["pipeline"], Against(peer, found[peer]), target=target)


async def second_worker(context: Context) -> AsyncIterator[Row]:
    """Slots full of generations that take half a second: two worker processes against one."""
    main = await context.main()
    measured = {
        "second_worker": partial(_orders_per_second, context, main, workers=2, slow=True),
        "one worker": partial(_orders_per_second, context, main, slow=True),
    }
    found = await interleave(context.rounds, measured)
    against = Against("one worker", found["one worker"])
    yield row("second_worker", "rate", "per s", found["second_worker"], against, target=Target("ratio", at_least=1.7))


async def _orders_per_second(context: Context, main: Main, *, workers: int = 1, slow: bool = False) -> float:
    """Pile orders up, then have them worked off; return how many succeed per second. Raises RuntimeError if all do."""
    site = main.site
    await site.clear()
    least, most = _SLOW if slow else (0.0, 0.0)
    hangs = [least + (most - least) * number / len(main.people) for number in range(len(main.people))]
    prompts = [f"[hang:{hang:.2f}] a cup" for hang in hangs]
    requests = [orders.order(*each) for each in zip(main.people, prompts, strict=True)]
    # Running an order takes more than twice what accepting it takes; those that take half a second are few.
    await context.load(main.api, requests, 202, 1.0 if slow else context.seconds + 1)
    await site.empty_redis()
    async with AsyncExitStack() as running, site.owner() as owner:
        before = await owner.fetchval(_ENDED)
        await asyncio.gather(*(running.enter_async_context(site.worker()) for _ in range(workers)))
        await until(partial(_goes_on, owner, before))
        await asyncio.sleep(context.warm_up)
        return await _falling(partial(owner.fetchval, _LEFT), max(context.seconds, most))


async def _jobs_per_second(context: Context, site: Site, poll_delay: float = queue.POLL_DELAY) -> float:
    """Pile jobs up that do nothing, then have arq drain them; return how many per second."""
    await site.empty_redis()
    async with queue.queue(site) as jobs:
        for begin in range(0, round(_JOBS_PER_SECOND * (context.seconds + 1)), _AT_ONCE):
            await asyncio.gather(*(jobs.enqueue_job("nothing", begin + each) for each in range(_AT_ONCE)))
        async with queue.working(site, poll_delay=poll_delay):
            await asyncio.sleep(context.warm_up)
            rate = await _falling(partial(jobs.zcard, "arq:queue"), max(context.seconds, 2 * poll_delay))
    await site.empty_redis()
    return rate


async def _falling(left: Callable[[], Awaitable[int]], seconds: float) -> float:
    """Return how many per second are worked off in so many seconds, or until none is left. RuntimeError: none was."""
    first, begun = await left(), perf_counter()
    last, now = first, begun
    while last and now < begun + seconds:
        await asyncio.sleep(min(_LOOK, begun + seconds - now))
        last, now = await left(), perf_counter()
    if not first:
        raise RuntimeError("All was worked off before the measurement began.")
    return (first - last) / (now - begun)


async def _goes_on(owner: "asyncpg.Connection[asyncpg.Record]", before: int) -> bool:
    return int(await owner.fetchval(_ENDED)) > before
