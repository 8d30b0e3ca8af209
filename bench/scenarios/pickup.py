"""How long an order waits for the call to its vendor, and a refused one for its refund."""

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence, Set as AbstractSet
from functools import partial
from pathlib import Path
from time import time
from uuid import UUID

import asyncpg
import httpx

from bench import notes
from bench.cast import Person
from bench.figures import percentile
from bench.orders import ORDER
from bench.peers import queue
from bench.rounds import interleave
from bench.rows import Against, Row, Target, row
from bench.scenarios.context import Context
from bench.site import Site
from bench.stack import Child
from bench.until import until

RUNNING = 20  # generations that run meanwhile
_SLOTS = 40  # of the worker, for both sides: one of arq's 10 would have none free, and one of ours neither
_HANGS = 600.0  # seconds that each of those runs: longer than the measurement
_GAP = 0.2  # seconds between two orders at most: they come at random, not in step with who looks for them

#: Seconds since the epoch, as Postgres has noted them: the commits of an order's debit and of its refund.
_COMMITS = """
    SELECT generation_id, extract(epoch FROM pg_xact_commit_timestamp(xmin))::float8 AS at FROM ledger_entries
    WHERE kind = $1 AND generation_id = ANY($2)
"""


async def pickup(context: Context) -> AsyncIterator[Row]:
    """From the commit of an order to the call to its vendor, while 20 other generations run."""
    main = await context.main()
    site, api, people = main.site, main.api, main.people
    await site.clear()
    count, file, theirs = (5 if context.quick else 40), context.stack.file("notes"), context.stack.file("notes")
    async with (
        site.worker(file, WORKER_CONCURRENCY=str(_SLOTS)),
        queue.working(site, str(theirs), jobs=_SLOTS),
        queue.queue(site) as jobs,
    ):
        await asyncio.gather(
            *(order(api, person, f"[hang:{_HANGS}] a cup") for person in people[:RUNNING]),
            *(jobs.enqueue_job("hang", _HANGS) for _ in range(RUNNING)),
        )
        await until(partial(_are_called, file, RUNNING))

        async def by_arq() -> list[float]:
            async def enqueue() -> tuple[str, float]:
                begun = time()
                job = await jobs.enqueue_job("tell", str(begun))
                return (str(begun), begun) if job else ("", 0.0)

            return await waits(dict(await spread_out(enqueue, count)), theirs)

        ours = partial(picked_up, site, api, people[-20:], count, file)
        await ours()  # the first ones pay for connections
        measured: dict[str, Callable[[], Awaitable[list[float]]]] = {"pickup": ours, "arq": by_arq}
        found = await interleave(context.rounds, measured)
    p50, p95 = ({name: [percentile(each, p) for each in found[name]] for name in found} for p in (50, 95))
    arq = Against("arq", p50["arq"], times_faster=True)
    yield row("pickup", "p50", "ms", p50["pickup"], arq, target=Target("value", at_most=40))
    yield row("pickup", "p50, times faster", "ms", p50["pickup"], arq, target=Target("ratio", at_least=5))
    arq = Against("arq", p95["arq"], times_faster=True)
    yield row("pickup", "p95", "ms", p95["pickup"], arq, target=Target("value", at_most=120))


async def picked_up(site: Site, api: Child, people: Sequence[Person], count: int, file: Path) -> list[float]:
    """Place orders at random moments; return the ms from each one's commit to the call to its vendor."""
    people_in_turn = iter([*people] * count)
    placed = await spread_out(lambda: order(api, next(people_in_turn), ORDER["prompt"]), count)
    async with site.owner() as owner:
        ids = [UUID(generation_id) for generation_id, _ in placed]
        commits = {str(key): float(at) for key, at in await owner.fetch(_COMMITS, "debit", ids)}
    return await waits(commits, file)


async def refund(context: Context) -> AsyncIterator[Row]:
    """From the vendor's verdict to the commit of the refund."""
    main = await context.main()
    site, api, people = main.site, main.api, main.people
    await site.clear()
    count, file = (5 if context.quick else 40), context.stack.file("notes")
    async with site.worker(file):

        async def refused() -> list[float]:
            people_in_turn = iter([*people] * count)
            fails = "[fail:content_policy] a cup"
            placed = await spread_out(lambda: order(api, next(people_in_turn), fails), count)
            ids = [UUID(generation_id) for generation_id, _ in placed]
            async with site.owner() as owner:
                await until(partial(_are_refunded, owner, ids))
                commits = await owner.fetch(_COMMITS, "refund", ids)
            verdicts = notes.read(file, "refused")
            return [(at - verdicts[str(generation_id)]) * 1000 for generation_id, at in commits]

        await refused()  # the first ones pay for connections
        found = await interleave(context.rounds, {"refund": refused})
    p95 = [percentile(each, 95) for each in found["refund"]]
    p50 = [percentile(each, 50) for each in found["refund"]]
    more: dict[str, float | str] = {"p50_ms": round(sorted(p50)[len(p50) // 2], 1)}
    yield row("refund", "p95", "ms", p95, target=Target("value", at_most=50), more=more)


async def order(api: Child, person: Person, prompt: str) -> tuple[str, float]:
    """Order an image; return the generation's id and when it was answered, in seconds since the epoch."""
    return await order_of(api, person, {**ORDER, "prompt": prompt})


async def order_of(api: Child, person: Person, body: Mapping[str, str]) -> tuple[str, float]:
    """Place an order; return the same."""
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{api.port}", headers=person.auth, timeout=30) as client:
        answer = await client.post("/v1/projects", json=dict(body))
        return str(answer.raise_for_status().json()["generation"]["id"]), time()


async def spread_out(place: Callable[[], Awaitable[tuple[str, float]]], count: int) -> Sequence[tuple[str, float]]:
    """Place so many, at random moments, however long each takes."""
    placing = []
    for _ in range(count):
        await asyncio.sleep(random.uniform(0, _GAP))  # noqa: S311  # no secret
        placing.append(asyncio.ensure_future(place()))
    return await asyncio.gather(*placing)


async def waits(begun: Mapping[str, float], file: Path) -> list[float]:
    """Return the ms from each beginning to the note that it was called, once all were."""
    await until(partial(_are_noted, file, begun.keys()))
    called = notes.read(file, "called")
    return [(called[which] - at) * 1000 for which, at in begun.items()]


async def _are_called(file: Path, count: int) -> bool:
    return len(notes.read(file, "called")) == count


async def _are_noted(file: Path, which: AbstractSet[str]) -> bool:
    return which <= notes.read(file, "called").keys()


async def _are_refunded(owner: "asyncpg.Connection[asyncpg.Record]", ids: Sequence[UUID]) -> bool:
    return len(await owner.fetch(_COMMITS, "refund", ids)) == len(ids)
