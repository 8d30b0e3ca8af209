"""An order outlives the run that placed it: a cancel or a deploy while the vendor is still answering."""

import signal
from typing import Any

from tallyframe.db import Database
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.google_all import FakeGoogle
from tests.support.processes import Processes
from tests.vendors.test_bought_once import until_steps

SLOW = 2.5  # seconds: more than the heartbeat that tells a worker of a cancel


async def test_a_ticket_that_comes_after_the_cancel_is_withdrawn(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.slow, fake.omni.runs = SLOW, 1_000_000
    await processes.worker(**fake.environment(PROVIDER_TIMEOUT="30"))
    project = await alice.order(kind="video")
    await until_steps(owner, "intent")
    assert (await alice.http.post(f"/v1/projects/{project['id']}/cancel")).status_code == 200
    await until_steps(owner, "withdrawn")
    assert set(fake.omni.jobs.values()) == {"cancelled"}
    assert fake.server.asked("GET", "/interactions/") == []
    calls = await owner.fetch("SELECT kind, status FROM ai_operations ORDER BY id")
    assert [tuple(call) for call in calls] == [("order", "accepted"), ("cancel", "succeeded")]
    assert await assert_books_balance(db, owner) == {"canceled": 1}


async def test_a_picture_that_comes_after_the_cancel_is_noted(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.slow = SLOW
    await processes.worker(**fake.environment(PROVIDER_TIMEOUT="30"))
    project = await alice.order()
    await until_steps(owner, "intent")
    assert (await alice.http.post(f"/v1/projects/{project['id']}/cancel")).status_code == 200
    await until_steps(owner, "orphaned")
    assert await alice.available() == 20
    assert await assert_books_balance(db, owner) == {"canceled": 1}


async def test_a_deploy_waits_for_the_picture_that_is_on_its_way(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.slow = SLOW
    worker = await processes.worker(**fake.environment(PROVIDER_TIMEOUT="30"))
    project = await alice.order()
    await until_steps(owner, "intent")
    worker.send(signal.SIGTERM)
    assert await worker.wait() == 0
    await until_all_ended(owner)
    assert (await alice.project(project["id"]))["status"] == "draft"
    assert len(fake.gemini.orders) == 1
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_a_worker_without_patience_leaves_a_doubt_and_no_second_order(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.slow = 120
    worker = await processes.worker(**fake.environment(PROVIDER_TIMEOUT="150", SHUTDOWN_GRACE="1"))
    await alice.order()
    await until_steps(owner, "intent")
    worker.send(signal.SIGTERM)
    assert await worker.wait() == 0
    fake.slow = 0
    await processes.worker(**fake.environment())
    await until_all_ended(owner)
    assert fake.gemini.orders == []  # the one request was never answered
    assert len(fake.server.requests) == 1
    assert await assert_books_balance(db, owner) == {"failed": 1}
