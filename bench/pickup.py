"""How long an order waits for a worker, and how long it takes in all: alone, and beside another user's flood."""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from time import time
from uuid import UUID

import asyncpg
import httpx

from bench.cast import Person, clear
from bench.figures import percentile
from bench.orders import ORDER
from bench.stack import Stack

_LOOK = 0.01  # seconds between looks at a generation
#: How many orders another user has placed, and their prompt: they keep slots busy, but not the cores.
FLOOD = 1000
SLOW = "[hang:1] [fail:content_policy] a cup"
_WITHIN = 30.0  # seconds for one order
_JITTER = 0.1  # seconds, at most, so that orders aren't in step with the worker's polls of its queue

_SPANS = ("pickup: 202 to started", "pickup: written to started", "end to end: sent to succeeded")


@dataclass(frozen=True)
class Waits:
    """Mean and percentiles of one span, in ms."""

    name: str
    mean: float
    p50: float
    p95: float


async def pickup(stack: Stack, port: int, person: Person, flooding: Person, orders: int) -> tuple[list[Waits], ...]:
    """Place `orders` one after the other: with one idle worker, and beside a flood."""
    await clear(stack)
    await stack.worker()
    owner = await asyncpg.connect(stack.database_url)
    try:
        async with _client(port, person) as client, _client(port, flooding) as other:
            await _one(client, owner)  # the first one pays for imports and connections
            alone = [await _one(client, owner) for _ in range(orders)]
            await _flood(other)
            beside = [await _one(client, owner) for _ in range(orders)]
    finally:
        await owner.close()
    return _waits(alone), _waits(beside)


def _client(port: int, person: Person) -> httpx.AsyncClient:
    return httpx.AsyncClient(
        base_url=f"http://127.0.0.1:{port}", headers={"Authorization": f"Bearer {person.key}"}, timeout=60
    )


async def _flood(client: httpx.AsyncClient) -> None:
    """Place the flood: each order takes the provider a second, and no CPU time."""
    at_once = asyncio.Semaphore(16)

    async def place() -> None:
        async with at_once:
            (await client.post("/v1/projects", json={**ORDER, "prompt": SLOW})).raise_for_status()

    await asyncio.gather(*(place() for _ in range(FLOOD)))


def _waits(orders: Sequence[tuple[float, ...]]) -> list[Waits]:
    return [
        Waits(name, fmean(spans), percentile(spans, 50), percentile(spans, 95))
        for name, spans in zip(_SPANS, zip(*orders, strict=True), strict=True)
    ]


async def _one(client: httpx.AsyncClient, owner: "asyncpg.Connection[asyncpg.Record]") -> tuple[float, ...]:
    """Place an order; return how long each of `_SPANS` took, in ms.

    The database times commit, start and result, and we time request and answer: one clock, on one machine. A worker may
    start before the answer is here; then the wait is 0.
    """
    await asyncio.sleep(random.uniform(0, _JITTER))  # noqa: S311  # no secret
    sent = time()
    answer = (await client.post("/v1/projects", json=ORDER)).raise_for_status()
    answered = time()
    created, started, finished = await _times(owner, UUID(answer.json()["generation"]["id"]))
    return max(started - answered, 0) * 1000, (started - created) * 1000, (finished - sent) * 1000


async def _times(owner: "asyncpg.Connection[asyncpg.Record]", generation_id: UUID) -> tuple[float, float, float]:
    """Wait for the generation to succeed; return when it was written, started and finished, in Unix seconds."""
    async with asyncio.timeout(_WITHIN):
        while True:
            row = await owner.fetchrow("SELECT * FROM generations WHERE id = $1", generation_id)
            if row["finished_at"]:
                break
            await asyncio.sleep(_LOOK)
    if row["status"] != "succeeded":
        raise RuntimeError(f"a generation ended as {row['status']}: {row['error_message']}")
    return row["created_at"].timestamp(), row["started_at"].timestamp(), row["finished_at"].timestamp()
