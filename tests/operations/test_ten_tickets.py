"""Ten tickets of one generation: a real worker waits for all of them at once, and its death buys nothing twice."""

import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import Database
from tallyframe.settings import Settings
from tests.operations.buying import buy, until_ended
from tests.operations.tree import InTree, Tree
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.google_all import KEY, FakeGoogle, google
from tests.support.google_videos import FakeOmni
from tests.support.writing import until

TOOK = "SELECT extract(epoch FROM finished_at - created_at)::float FROM generations WHERE id = $1"
STATES = "SELECT count(*) FROM generation_steps WHERE generation_id = $1 AND state = ANY ($2)"
CALLS = """
    SELECT step, count(*) FILTER (WHERE kind = 'order') AS orders, count(*) FILTER (WHERE kind = 'collect') AS collects,
           max(created_at) FILTER (WHERE kind = 'collect') AS latest
    FROM ai_operations WHERE generation_id = $1 GROUP BY step"""


@pytest.fixture
async def processes(settings: Settings, tmp_path: Path) -> AsyncIterator[InTree]:
    tree = Tree.copied(tmp_path / "tree")
    tree.drop_in_operation("reel")
    started = InTree(settings, tree=tree)
    yield started
    await started.end_all()


@pytest.fixture
async def fake() -> AsyncIterator[FakeGoogle]:
    async with google() as running:
        yield running
    assert running.complaints == []


async def test_they_are_waited_for_side_by_side(alice: Member, processes: InTree, db: Database, owner: Any) -> None:
    """One after the other they would take thirty seconds."""
    await processes.worker()
    made = await buy(alice, "reel", images=[f"[delay:3] cup {number}" for number in range(10)])
    done = await until_ended(alice, made)
    assert (done["status"], len(done["outputs"])) == ("succeeded", 10)
    took = await owner.fetchval(TOOK, UUID(made["id"]))

    assert 3 <= took < 12
    calls = await owner.fetch(CALLS, UUID(made["id"]))
    assert [call["orders"] for call in calls] == [1] * 10
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


class Uneven(FakeOmni):
    """Every second job is ready when it is asked for; the others are not before they are let go."""

    let_go = False

    def _looks(self, job: str) -> float:
        return 0 if self.let_go or int(job[-4:]) % 2 else 1_000_000


async def test_a_killed_worker_has_bought_each_once_and_what_is_done_is_not_asked_for_again(
    alice: Member, processes: InTree, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.omni = omni = Uneven(key=KEY)
    worker = await processes.worker(**fake.environment())
    made = await buy(alice, "reel", videos=[f"cup {number}" for number in range(10)])
    id_ = UUID(made["id"])

    async def are(state: str, number: int) -> bool:
        return bool(await owner.fetchval(STATES, id_, [state]) == number)

    await until(lambda: are("done", 5))
    await until(lambda: are("ticket", 5))
    worker.send(signal.SIGKILL)
    await worker.wait()
    done = {job for job in omni.jobs if int(job[-4:]) % 2}
    asked = {job: omni.polls[job] for job in done}
    downloads = len(fake.server.asked("GET", "/files/"))

    omni.let_go = True
    await processes.worker(**fake.environment())
    ended = await until_ended(alice, made)
    assert (ended["status"], len(ended["outputs"])) == ("succeeded", 10)
    assert (len(fake.creates()), omni.paid) == (10, 10)
    assert {job: omni.polls[job] for job in done} == asked
    assert len(fake.server.asked("GET", "/files/")) == downloads + 5
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_a_worker_killed_while_it_orders_buys_nothing_again(
    alice: Member, processes: InTree, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    """The vendor takes orders and answers too late: of some it is known, and of others it is in doubt."""
    fake.slow = 1.0
    worker = await processes.worker(**fake.environment(PROVIDER_CONCURRENCY="4", PROVIDER_TIMEOUT="30"))
    made = await buy(alice, "reel", videos=[f"cup {number}" for number in range(10)])
    id_ = UUID(made["id"])

    async def is_in_the_middle() -> bool:
        has_some = await owner.fetchval(STATES, id_, ["ticket"]) > 0
        return bool(has_some and await owner.fetchval(STATES, id_, ["intent"]) > 0)

    await until(is_in_the_middle)
    worker.send(signal.SIGKILL)
    await worker.wait()
    fake.slow = 0.0
    ordered = len(fake.creates())
    await processes.worker(**fake.environment())
    ended = await until_ended(alice, made)
    assert (ended["status"], ended["error"]["code"]) == ("failed", "provider_timeout")
    assert ended["credits"] == {"quoted": 3, "charged": 3, "refunded": 3}
    assert len(fake.creates()) == ordered <= 10
    await until(lambda: _are_withdrawn(owner, id_))
    assert set(fake.omni.jobs.values()) >= {"cancelled"}
    assert await assert_books_balance(db, owner) == {"failed": 1}


async def _are_withdrawn(owner: Any, id_: UUID) -> bool:
    return bool(await owner.fetchval(STATES, id_, ["ticket", "intent"]) == 0)
