"""Worker processes are there while they live: counted, in the figures and in the metrics, and gone when they stop."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import httpx

from tallyframe.workers.heartbeat import SILENCE
from tests.support.processes import Process, Processes

ROWS = "SELECT name, slots FROM workers ORDER BY started_at"


async def until(condition: Callable[[], Awaitable[bool]], seconds: float = 30) -> None:
    end = monotonic() + seconds
    while not await condition():
        assert monotonic() < end, "it never came true"
        await asyncio.sleep(0.05)


async def until_there(owner: Any, *slots: int) -> None:
    async def there() -> bool:
        return [row["slots"] for row in await owner.fetch(ROWS)] == list(slots)

    await until(there)


async def gauges(anybody: httpx.AsyncClient) -> list[float]:
    lines = (await anybody.get("/metrics")).text.splitlines()
    found = dict(line.rsplit(" ", 1) for line in lines if line.startswith("tallyframe_worker"))
    return [float(found[f"tallyframe_worker{name}"]) for name in ("s", "_slots", "_slots_busy")]


def pid(process: Process) -> str:
    return f":{process.popen.pid}"


async def test_a_worker_is_there_from_its_start_until_it_stops(
    processes: Processes, owner: Any, anybody: httpx.AsyncClient
) -> None:
    first = await processes.worker(TALLYFRAME_WORKER_CONCURRENCY="3")
    await until_there(owner, 3)
    second = await processes.worker(TALLYFRAME_WORKER_CONCURRENCY="4")
    await until_there(owner, 3, 4)
    rows = await owner.fetch(ROWS)
    assert all(row["name"].endswith(pid(each)) for row, each in zip(rows, (first, second), strict=True))
    assert await gauges(anybody) == [2, 7, 0]
    first.send(signal.SIGTERM)
    assert await first.wait() == 0
    assert [row["slots"] for row in await owner.fetch(ROWS)] == [4]
    assert await gauges(anybody) == [1, 4, 0]


async def test_a_killed_worker_is_forgotten_when_it_has_been_silent(
    processes: Processes, owner: Any, anybody: httpx.AsyncClient
) -> None:
    killed = await processes.worker(TALLYFRAME_WORKER_CONCURRENCY="3")
    await until_there(owner, 3)
    killed.send(signal.SIGKILL)
    await killed.wait()
    assert await gauges(anybody) == [1, 3, 0]
    await owner.execute("UPDATE workers SET seen_at = seen_at - make_interval(secs => $1)", SILENCE)
    assert await gauges(anybody) == [0, 0, 0]
    await processes.worker(TALLYFRAME_WORKER_CONCURRENCY="5")
    await until_there(owner, 5)
    assert await gauges(anybody) == [1, 5, 0]
