"""No entry of the queue, readable or not, ends a worker or takes one of its slots for good."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from time import time
from typing import Any
from uuid import UUID

import msgpack
import pytest
from arq.worker import Worker as ArqWorker
from redis.asyncio.client import Pipeline
from redis.exceptions import ConnectionError as RedisConnectionError

from tallyframe.ids import new_id
from tallyframe.outbox.jobs import JobWorker
from tallyframe.outbox.relay import QUEUE, REDIS_AWAY, JobQueue, connect, unpack
from tests.support.unheard import unheard

NOW = 1_700_000_000_000
GOOD: dict[str, Any] = {"t": None, "f": "erase_project_files", "a": ["x"], "k": {}, "et": NOW}


class Worker:
    """A worker with two slots, which notes what it was called with."""

    def __init__(self, redis: JobQueue) -> None:
        self.called: list[tuple[str, UUID]] = []
        self.go_on = asyncio.Event()
        self.go_on.set()
        self.jobs = JobWorker(redis, ["erase_project_files"], self._run, slots=2)

    async def _run(self, kind: str, ref: UUID) -> None:
        self.called.append((kind, ref))
        await self.go_on.wait()

    async def poll_until_empty(self, redis: JobQueue) -> None:
        async with asyncio.timeout(10):
            while await redis.zcard(QUEUE):
                await self.jobs.poll()
                await asyncio.sleep(0.01)


@pytest.fixture
async def worker(redis: JobQueue) -> AsyncIterator[Worker]:
    made = Worker(redis)
    yield made
    made.go_on.set()
    await made.jobs.aclose(1)


async def away(*_: Any) -> None:
    """What arq's pipelines do while Redis goes away."""
    await asyncio.sleep(0.2)
    raise RedisConnectionError("Connection closed by server.")


async def test_a_job_that_is_cut_while_redis_is_away_leaves_no_error_that_nobody_hears(
    redis: JobQueue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArqWorker, "finish_job", away)
    with unheard() as reports:
        await enqueue(redis, new_id())
        while not worker.called:
            await worker.jobs.poll()
            await asyncio.sleep(0.01)
        await asyncio.sleep(0.1)  # by now it is being finished
        await worker.jobs.aclose(0)
        await asyncio.sleep(0.3)
        worker.jobs.tasks.clear()
    assert reports == []


async def test_neither_does_one_that_can_not_be_read(
    redis: JobQueue, worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ArqWorker, "finish_failed_job", away)
    with unheard() as reports:
        await poison(redis, b"no msgpack")
        await worker.jobs.poll()
        await asyncio.sleep(0.1)  # by now it is being taken out
        assert worker.jobs.tasks
        await worker.jobs.aclose(0)
        await asyncio.sleep(0.3)
        worker.jobs.tasks.clear()
    assert reports == []


async def enqueue(redis: JobQueue, ref: UUID, number: int = 1) -> None:
    await redis.enqueue_job("erase_project_files", str(ref), _job_id=f"erase_project_files:{ref}:{number}")


async def poison(redis: JobQueue, payload: bytes, name: str = "poison", score: float = 1.0) -> None:
    await redis.set(f"arq:job:{name}", payload)
    await redis.zadd(QUEUE, {name: score})


@pytest.mark.parametrize(
    "wrong",
    [
        {"f": ["erase_project_files"]},
        {"f": {"erase_project_files": 1}},
        {"t": msgpack.ExtType(5, b"x")},
        {"t": "1"},
        {"et": "yesterday"},
        {"et": 2**62},
        {"et": -(2**62)},
        {"a": 5},
        {"a": {"x": 1}},
        {"k": ["x"]},
        {"k": {"y": 1}},
        {"k": {1: 2}},
        {"a": []},
        {"a": ["no id"]},
        {"a": [["x"]]},
        {"f": "of_the_next_version"},
    ],
    ids=str,
)
async def test_a_payload_that_is_no_job_is_dropped(redis: JobQueue, worker: Worker, wrong: dict[str, Any]) -> None:
    await poison(redis, msgpack.packb(GOOD | wrong))
    after = new_id()
    await enqueue(redis, after)
    await worker.poll_until_empty(redis)
    assert worker.called == [("erase_project_files", after)]
    assert await redis.keys() == []


@pytest.mark.parametrize("payload", [b"", b"\xc1", b"\xff" * 9, msgpack.packb([1]), msgpack.packb({"f": b"\xff"})])
async def test_bytes_that_are_no_payload_are_dropped(redis: JobQueue, worker: Worker, payload: bytes) -> None:
    await poison(redis, payload)
    after = new_id()
    await enqueue(redis, after)
    await worker.poll_until_empty(redis)
    assert worker.called == [("erase_project_files", after)]


@pytest.mark.parametrize(("member", "score"), [(b"\xff\xfe", 1.0), ("x", float("-inf")), ("nothing there", 1.0)])
async def test_a_member_that_names_no_job_is_dropped_and_takes_no_slot(
    redis: JobQueue, worker: Worker, member: bytes | str, score: float
) -> None:
    for _ in range(5):  # more often than there are slots
        await redis.zadd(QUEUE, {member: score})  # type: ignore[type-var]  # either will do
        await worker.poll_until_empty(redis)
        await redis.delete(f"arq:in-progress:{member}" if isinstance(member, str) else "nothing")
    worker.go_on.clear()
    refs = [new_id(), new_id()]
    for ref in refs:
        await enqueue(redis, ref)
    await worker.jobs.poll()
    await asyncio.sleep(0.2)
    assert sorted(ref for _, ref in worker.called) == sorted(refs), "both slots are free"


async def test_without_redis_a_poll_says_so_and_costs_no_slot(redis: JobQueue, worker: Worker) -> None:
    nowhere = connect("redis://127.0.0.1:1")
    lost = JobWorker(nowhere, ["erase_project_files"], worker._run, slots=1)
    for _ in range(3):
        with pytest.raises(REDIS_AWAY):
            await lost.poll()
        with pytest.raises(REDIS_AWAY):
            await lost.start_jobs([b"somebody"])
    assert lost.job_counter == 0
    await nowhere.aclose(close_connection_pool=True)


@pytest.mark.parametrize("runs_elsewhere", [True, False])
async def test_a_line_that_is_cut_while_a_job_is_started_costs_no_slot_and_gives_back_none_twice(
    runs_elsewhere: bool,  # noqa: FBT001  # a parameter of the test
    redis: JobQueue,
    worker: Worker,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    await enqueue(redis, ref := new_id())
    job_id = f"erase_project_files:{ref}:1"
    if runs_elsewhere:
        await redis.set(f"arq:in-progress:{job_id}", b"1")
    reset, this = Pipeline.reset, asyncio.current_task()

    async def cut(pipeline: Pipeline) -> None:
        await reset(pipeline)  # type: ignore[no-untyped-call]
        if asyncio.current_task() is this:  # and not in the job that was started
            raise RedisConnectionError

    worker.go_on.clear()
    with monkeypatch.context() as patched:
        patched.setattr(Pipeline, "reset", cut)
        for _ in range(3):  # more often than there are slots
            with suppress(*REDIS_AWAY):
                await worker.jobs.start_jobs([job_id.encode()])
    await asyncio.sleep(0.1)
    assert worker.jobs.job_counter == len(worker.called) == 0
    worker.go_on.set()


async def test_only_so_many_run_at_once_and_the_next_comes_when_one_has_ended(redis: JobQueue, worker: Worker) -> None:
    worker.go_on.clear()
    for _ in range(5):
        await enqueue(redis, new_id())
    for _ in range(3):
        await worker.jobs.poll()
        await asyncio.sleep(0.05)
    assert len(worker.called) == 2
    worker.go_on.set()
    await worker.poll_until_empty(redis)
    assert len(worker.called) == 5


async def test_who_stops_gives_back_what_it_runs(redis: JobQueue, worker: Worker) -> None:
    worker.go_on.clear()
    ref = new_id()
    await enqueue(redis, ref)
    await worker.jobs.poll()
    await asyncio.sleep(0.1)
    await worker.jobs.aclose(0.1)
    await enqueue(redis, new_id())
    await worker.jobs.poll()
    assert len(worker.called) == 1

    other = Worker(redis)
    await other.poll_until_empty(redis)
    assert ("erase_project_files", ref) in other.called


def test_what_arq_writes_is_a_job() -> None:
    assert unpack(msgpack.packb(GOOD)) == GOOD
    assert unpack(msgpack.packb(GOOD | {"t": 3, "et": int(time() * 1000)}))["t"] == 3
