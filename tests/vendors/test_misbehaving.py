"""A vendor that hangs, answers garbage, sends far too much or closes the socket harms its own generation only."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest

from tallyframe.db import Database
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.google_all import FakeGoogle
from tests.support.processes import Process, Processes
from tests.support.vendor import DROP, Reply, Request, hang

JSON = {"Content-Type": "application/json"}
MISDEEDS = {
    "it-hangs": hang(60),
    "it-drops": DROP,
    "it-babbles": Reply(200, b"<html>no JSON</html>", JSON),
    "it-floods": Reply(200, b"{}", JSON, pad_to=200 * 2**20),
    "it-is-cut": Reply(200, b'{"id": "v1_int0001", "status": ', JSON, cut_after=20),
    "it-says-nothing": Reply(200, b"{}", JSON),
}
MEMORY = 100 * 2**20  # bytes that a flood of 200 MiB may cost the worker at most


def misbehave(request: Request) -> Reply | None:
    """Answer orders as their prompt says."""
    return next((reply for name, reply in MISDEEDS.items() if name.encode() in request.body), None)


@asynccontextmanager
async def watched(process: Process) -> AsyncIterator[list[int]]:
    """Keep looking at how many bytes of memory the process has."""
    seen: list[int] = []

    async def look() -> None:
        while True:
            seen.append(psutil.Process(process.popen.pid).memory_info().rss)
            await asyncio.sleep(0.02)

    looking = asyncio.create_task(look())
    yield seen
    looking.cancel()
    await asyncio.gather(looking, return_exceptions=True)


@pytest.mark.parametrize("kind", ["image", "video"])
async def test_of_orders(
    kind: str, rich: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: object
) -> None:
    fake.before = misbehave
    worker = await processes.worker(**fake.environment(BREAKER_FAILURES="1000"))
    await rich.order("a good one", kind=kind, aspect_ratio="9:16")
    await until_all_ended(owner)
    async with watched(worker) as memory:
        for name in MISDEEDS:
            await rich.order(name, kind=kind, aspect_ratio="9:16")
            await rich.order("a good one", kind=kind, aspect_ratio="9:16")
        await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"succeeded": 1 + len(MISDEEDS), "failed": len(MISDEEDS)}
    assert worker.popen.poll() is None
    assert max(memory) - memory[0] < MEMORY
    assert "generation_crashed" not in worker.text


@pytest.mark.parametrize("name", MISDEEDS)
async def test_of_a_film_that_is_ready(
    name: str, rich: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: object
) -> None:
    """What it does once is no verdict: the film is asked for again. Of too large a film it is one."""
    fake.omni.instead["download"].append(MISDEEDS[name])
    worker = await processes.worker(**fake.environment(videos="omni,veo", PROVIDER_TIMEOUT="3"))
    await rich.order(kind="video")
    await until_all_ended(owner)
    is_verdict = name == "it-floods"
    assert await assert_books_balance(db, owner) == ({"failed": 1} if is_verdict else {"succeeded": 1})
    assert (fake.omni.paid, fake.veo.paid) == (1, 0)
    assert worker.popen.poll() is None
