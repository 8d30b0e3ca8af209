"""Moments in which a run is cut off just before it could say how it ended."""

import asyncio
import hashlib
from dataclasses import replace
from typing import Any

import pytest

from tallyframe.db import Database
from tallyframe.errors import FailureCode, GenerationError, Unavailable
from tallyframe.generations.claim import Claim
from tallyframe.generations.end import settle
from tallyframe.generations.end.sweep import sweep
from tallyframe.providers.base import Answer, Call, Task
from tallyframe.providers.offline import OfflineProvider
from tallyframe.storages.base import Storage
from tests.support.cast import Member
from tests.support.counting import Counting
from tests.support.working import Bench

LOSE_LEASE = "UPDATE generations SET lease_until = now() - interval '1 second', fence = fence + 1, wake_at = NULL"


@pytest.fixture
def settle_lost_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is away for the first attempt to settle a failure."""
    fail = settle.fail
    lost: list[Claim] = []

    async def lose(db: Database, claim: Claim, *more: Any) -> bool:
        if not lost:
            lost.append(claim)
            raise Unavailable
        return await fail(db, claim, *more)

    monkeypatch.setattr(settle, "fail", lose)


@pytest.mark.usefixtures("settle_lost_once")
async def test_a_doubt_stays_a_doubt(alice: Member, bench: Bench, owner: Any) -> None:
    await alice.order()
    provider = Counting(repeatable=False)
    [generation_id] = await bench.due()
    await owner.execute("UPDATE generations SET attempt = 1")
    await owner.execute(
        "INSERT INTO generation_steps (generation_id, name, attempt, state, provider, model)"
        " VALUES ($1, 'image', 1, 'intent', 'offline', 'offline-1')",
        generation_id,
    )
    assert await bench.with_provider(provider).run(generation_id) == "failed"
    assert provider.bought == []
    assert await alice.available() == 20
    assert (await owner.fetch("SELECT state FROM generation_steps"))[0]["state"] == "in_doubt"


@pytest.mark.usefixtures("settle_lost_once")
async def test_a_result_that_could_not_be_stored_is_not_bought_again(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallyframe.generations.steps.results.STORE_RETRIES", (0.0,))
    media = bench.settings.server.data_dir / "media"
    media.parent.mkdir(parents=True)
    media.write_text("a file where the folder should be")
    project = await alice.order()
    provider = Counting(repeatable=False)
    [generation_id] = await bench.due()
    assert await bench.with_provider(provider).run(generation_id) == "failed"
    assert len(provider.bought) == 1
    assert (await alice.project(project["id"]))["error"]["code"] == "storage_unavailable"
    assert await alice.available() == 20


async def _ring_again(owner: Any, generation_id: Any) -> None:
    await owner.execute(
        "INSERT INTO outbox (kind, ref) VALUES ('run_generation', $1) ON CONFLICT DO NOTHING", generation_id
    )


async def test_no_call_outlives_its_generation(alice: Member, bench: Bench, owner: Any) -> None:
    """However it ends, and also when the call comes in while it runs or after its end."""

    class RungWhileRunning(OfflineProvider):
        async def start(self, task: Task, call: Call) -> Answer:
            await _ring_again(owner, generation_id)
            return await super().start(task, call)

    for prompt in ("a cup", "[fail:internal] a cup"):
        project = await alice.order(prompt)
        generation_id = project["generation"]["id"]
        await bench.with_provider(RungWhileRunning()).run(generation_id)
        assert await owner.fetchval("SELECT count(*) FROM outbox") == 0, prompt
        await _ring_again(owner, generation_id)
        assert await bench.runner().run(generation_id) == "not_taken"
        await sweep(bench.db)
        assert await owner.fetchval("SELECT count(*) FROM outbox") == 0, prompt

    canceled = await alice.order()
    await alice.http.post(f"/v1/projects/{canceled['id']}/cancel")
    assert await owner.fetchval("SELECT count(*) FROM outbox") == 0


async def test_only_what_is_too_old_expires(alice: Member, bench: Bench) -> None:
    project = await alice.order()
    assert not await settle.expire(bench.db, project["generation"]["id"], "too early")
    assert await sweep(bench.db) == (0, 0)
    assert (await alice.project(project["id"]))["status"] == "pending"


def test_a_generation_error_says_its_published_words() -> None:
    assert GenerationError(FailureCode.EXPIRED).message == "This did not finish in time."


class HeldUp:
    """A storage whose files arrive only when it is let go, as those of a worker that is frozen."""

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self.is_storing, self.let_go = asyncio.Event(), asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        self.is_storing.set()
        await self.let_go.wait()
        await self._storage.put(key, b"late" + data, content_type)


async def test_who_stores_late_overwrites_nothing(alice: Member, bench: Bench, owner: Any) -> None:
    project = await alice.order()
    [generation_id] = await bench.due()
    storages = bench.runner().dependencies.storages
    slow = HeldUp(storages.current)
    late = asyncio.create_task(bench.runner(storages=replace(storages, current=slow)).run(generation_id))
    await slow.is_storing.wait()
    await owner.execute(LOSE_LEASE)
    assert await bench.runner().run(generation_id) == "succeeded"
    slow.let_go.set()
    assert await late == "claim_lost"
    [output] = (await alice.project(project["id"]))["generation"]["outputs"]
    kept = await alice.http.get(output["url"])
    assert hashlib.sha256(kept.content).hexdigest() == output["sha256"]
