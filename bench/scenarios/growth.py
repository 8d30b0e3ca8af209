"""How answers slow down as a service grows: the same measurements on a small, a middle and a large database."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack
from dataclasses import replace
from functools import partial
from statistics import median
from time import perf_counter

import httpx

from bench import orders
from bench.figures import percentile
from bench.fill import HOARDER, LARGE, MIDDLE, SMALL, Scale, fill
from bench.grown import Grown, grown
from bench.load import load
from bench.rounds import interleave
from bench.rows import Against, Row, Target, row
from bench.scenarios.context import Context
from bench.site import open_site
from tallyframe.api.cursors import encode
from tallyframe.generations.end.sweep import sweep
from tallyframe.generations.run.dispatch import PICKS
from tallyframe.generations.run.lease import Holder, claim_next

#: With so few users that each has a full page of projects, as in the others.
_SMALL = replace(SMALL, users=200)
QUICK = (Scale(200, 1_000, 40, 20, users=50, calls=600), Scale(2_000, 10_000, 200, 200, users=50, calls=6_000))
_POLLED = 200  # projects: whoever polls one does so again and again, so that it is in Postgres' memory
#: Seconds per measurement, and before it: a hundred requests or more, one at a time.
_SECONDS, _WARM_UP = 0.7, 0.3
_CLAIMS, _SWEEPS = 100, 10
_PAGE = 20  # projects, by default
_TARGET = Target("ratio", at_most=1.3)

#: What is read: the rows' names and paths. All but the administrators' are asked for by users in turn.
_PATHS = {
    "growth_list": "/v1/projects",
    "growth_list_entries": "/v1/credits/entries",
    "growth_list_explore": "/v1/explore",
    "growth_list_admin": "/v1/admin/generations",
    "growth_balance": "/v1/credits",
}


async def growth(context: Context) -> AsyncIterator[Row]:
    """The p95 of whatever runs often, one at a time; and what administrators and Prometheus read."""
    scales = QUICK if context.quick else (_SMALL, MIDDLE, LARGE)
    async with AsyncExitStack() as running:
        # One after the other: alembic can't migrate two in one process. Filled side by side: each takes one core.
        sites = [await open_site(context.stack, f"bench_{scale.generations}") for scale in scales]
        await asyncio.gather(*(fill(site.database_url, scale) for site, scale in zip(sites, scales, strict=True)))
        sizes = [await running.enter_async_context(grown(*each)) for each in zip(scales, sites, strict=True)]
        yield await _curve(context, "growth_accept", sizes, [_accepts(context, size) for size in sizes])
        yield await _curve(context, "growth_poll", sizes, [await _polls(context, size) for size in sizes])
        for name, path in _PATHS.items():
            yield await _curve(context, name, sizes, [_reads(context, size, path) for size in sizes])
        yield await _curve(context, "growth_claim", sizes, [partial(_claims, size) for size in sizes])
        yield await _curve(context, "growth_sweep", sizes, [partial(_sweeps, size) for size in sizes])
        async for page in _pages(context, sizes[0], sizes[-1]):
            yield page
        yield await _answer(context, sizes[-1], "metrics", "/metrics", at_most=0.2)
        yield await _answer(context, sizes[-1], "admin_stats", "/v1/admin/stats", at_most=0.5)


Measure = Callable[[], Awaitable[float]]


async def _curve(context: Context, name: str, sizes: Sequence[Grown], measures: Sequence[Measure]) -> Row:
    """Measure each size in turn; return the row that compares the largest with the smallest."""
    found = await interleave(context.rounds, dict(zip(_names(sizes), measures, strict=True)))
    smallest, *_, largest = found
    curve: dict[str, float | str] = {f"at_{size}": round(median(values), 3) for size, values in found.items()}
    against = Against(f"{int(smallest):,} projects", found[smallest])
    return row(name, "p95", "ms", found[largest], against, target=_TARGET, more=curve)


def _names(sizes: Sequence[Grown]) -> list[str]:
    return [str(size.scale.generations) for size in sizes]


def _requests(context: Context, size: Grown, requests: Sequence[str], status: int = 200) -> Measure:
    """Return the measure of requests that are sent in turn, one at a time: the p95 in ms."""

    async def measure() -> float:
        seconds = min(context.seconds, _SECONDS)
        return (await load(context.stack, size.api, requests, status, seconds, connections=1, warm_up=_WARM_UP)).p95

    return measure


def _accepts(context: Context, size: Grown) -> Measure:
    return _requests(context, size, [orders.order(person) for person in size.people[1:]], 202)


async def _polls(context: Context, size: Grown) -> Measure:
    """Polls of projects drawn from all of some users."""
    by_id = {person.user_id: person for person in size.people}
    async with size.site.owner() as owner:
        drawn = await owner.fetch(
            "SELECT id, user_id FROM projects WHERE user_id = ANY($1) ORDER BY md5(id::text) LIMIT $2",
            *(list(by_id), _POLLED),
        )
    return _requests(context, size, [orders.poll(by_id[each["user_id"]], str(each["id"])) for each in drawn])


def _reads(context: Context, size: Grown, path: str) -> Measure:
    people = size.people[:1] if "/admin/" in path else size.people[1:]
    return _requests(context, size, [orders.get(person, path) for person in people])


async def _claims(size: Grown) -> float:
    """Claim as a worker's slots do, of everybody."""
    took, holder = [], Holder("bench", 600.0)
    for number in range(min(_CLAIMS, size.scale.live // 10)):
        begun = perf_counter()
        claim = await claim_next(size.worker, holder, [], PICKS[number % len(PICKS)])
        took.append((perf_counter() - begun) * 1000)
        if claim is None:
            raise RuntimeError("Nothing was left to claim.")
    return percentile(took, 95)


async def _sweeps(size: Grown) -> float:
    """Sweep, with nothing to be mended."""
    took = []
    for _ in range(_SWEEPS):
        begun = perf_counter()
        await sweep(size.worker)
        took.append((perf_counter() - begun) * 1000)
    return percentile(took, 95)


async def _pages(context: Context, small: Grown, large: Grown) -> AsyncIterator[Row]:
    """The first and the 1,000th page of who has the most projects, against the first one of a user with few."""
    first = "/v1/projects"
    skipped = (min(1_000, large.scale.hoard // _PAGE) - 1) * _PAGE
    async with large.site.owner() as owner:
        last = await owner.fetchval(
            "SELECT id FROM projects WHERE user_id = $1 ORDER BY id DESC OFFSET $2 LIMIT 1", HOARDER, skipped - 1
        )
    few = _requests(context, small, [orders.get(small.people[0], first)])
    far = f"{first}?cursor={encode(str(last))}"
    measures = {"few": few}
    for name, path in (("growth_page_1", first), ("growth_page_1000", far)):
        measures[name] = _requests(context, large, [orders.get(large.people[0], path)])
    found = await interleave(context.rounds, measures)
    target = Target("ratio", at_most=1.5)
    for name in ("growth_page_1", "growth_page_1000"):
        against = Against(f"a user with {small.scale.hoard} projects", found["few"])
        yield row(name, "p95", "ms", found[name], against, target=target)


async def _answer(context: Context, size: Grown, name: str, path: str, *, at_most: float) -> Row:
    """Time an answer that is asked for now and then."""
    took = []
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{size.api.port}", timeout=60) as client:
        for _ in range(context.rounds):
            begun = perf_counter()
            (await client.get(path, headers=size.people[0].auth)).raise_for_status()
            took.append(perf_counter() - begun)
    return row(name, "time", "s", took, target=Target("value", at_most=at_most))
