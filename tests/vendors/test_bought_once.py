"""An accepted video is charged once, bought once and delivered, whatever happens to whoever waits for it."""

import asyncio
import signal
from time import monotonic
from typing import Any

from tallyframe.db import Database
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.google_all import FakeGoogle
from tests.support.google_wire import failure
from tests.support.processes import Processes
from tests.support.vendor import Reply, Request, hang

STEPS = "SELECT count(*) FROM generation_steps WHERE state = $1"


async def until_steps(owner: Any, state: str, number: int = 1) -> None:
    until = monotonic() + 60
    while await owner.fetchval(STEPS, state) < number:
        assert monotonic() < until, f"no step is in the state {state}"
        await asyncio.sleep(0.02)


async def test_from_a_prompt_to_a_picture_and_a_film(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    await processes.worker(**fake.environment())
    project = await alice.order("a cup on a table", aspect_ratio="9:16")
    await until_all_ended(owner)
    answer = await alice.http.post(f"/v1/projects/{project['id']}/video", json={"duration_seconds": 4})
    assert answer.status_code == 202, answer.text
    await until_all_ended(owner)

    made = await alice.project(project["id"])
    assert (made["status"], made["generation"]["provider"]) == ("draft", "omni")
    film = await alice.http.get(made["video_url"])
    assert film.content == fake.omni.film
    assert [order.aspect_ratio for order in fake.gemini.orders] == ["9:16"]
    assert fake.omni.paid == 1
    assert await alice.available() == 5
    assert await assert_books_balance(db, owner) == {"succeeded": 2}


async def test_its_worker_is_killed(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.omni.runs = 1_000_000
    worker = await processes.worker(**fake.environment())
    await alice.order(kind="video")
    await until_steps(owner, "ticket")
    worker.send(signal.SIGKILL)
    await worker.wait()
    fake.omni.runs = 0

    await processes.worker(**fake.environment())
    await until_all_ended(owner)
    assert (len(fake.creates()), fake.omni.paid) == (1, 1)
    assert await alice.available() == 10
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_its_polls_get_errors_for_long(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.omni.instead["poll"].extend([failure(500, "INTERNAL", "An internal error has occurred.")] * 30)
    await processes.worker(**fake.environment())
    await alice.order(kind="video")
    await until_all_ended(owner)
    assert len(fake.server.asked("GET", "/interactions/")) > 30
    assert (len(fake.creates()), fake.omni.paid) == (1, 1)
    assert await assert_books_balance(db, owner) == {"succeeded": 1}
    assert await owner.fetchval("SELECT count(*) FROM ai_operations WHERE kind = 'collect' AND status = 'failed'") == 30


async def test_our_own_deadline_passes_again_and_again(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.omni.instead["poll"].extend([hang(30)] * 3)
    await processes.worker(**fake.environment(PROVIDER_TIMEOUT="2"))
    await alice.order(kind="video")
    await until_all_ended(owner)
    assert (len(fake.creates()), fake.omni.paid) == (1, 1)
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_it_is_canceled_and_stopped_at_the_vendor(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.omni.runs = 1_000_000
    await processes.worker(**fake.environment())
    project = await alice.order(kind="video")
    await until_steps(owner, "ticket")
    assert (await alice.http.post(f"/v1/projects/{project['id']}/cancel")).status_code == 200
    await until_steps(owner, "withdrawn")
    assert set(fake.omni.jobs.values()) == {"cancelled"}
    assert await alice.available() == 20
    assert await assert_books_balance(db, owner) == {"canceled": 1}


async def test_an_order_whose_answer_is_lost_is_refunded_and_never_placed_again(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    fake.omni.lost.append(Reply(drop=True))
    await processes.worker(**fake.environment(videos="omni,veo"))
    await alice.order(kind="video")
    await until_all_ended(owner)
    assert len(fake.creates()) == 1
    assert await owner.fetchval(STEPS, "in_doubt") == 1
    assert await alice.available() == 20
    assert await assert_books_balance(db, owner) == {"failed": 1}


async def test_a_refused_order_goes_to_the_next_provider(
    alice: Member, processes: Processes, fake: FakeGoogle, db: Database, owner: Any
) -> None:
    def retired(request: Request) -> Reply | None:
        gone = request.path.endswith("/interactions")
        return failure(404, "NOT_FOUND", "models/gemini-omni-1.1-flash is not found.") if gone else None

    fake.before = retired
    worker = await processes.worker(**fake.environment(videos="omni,veo"))
    project = await alice.order(kind="video", aspect_ratio="16:9", duration_seconds=8)
    await until_all_ended(owner)
    made = await alice.project(project["id"])
    assert (made["status"], made["generation"]["provider"], made["generation"]["attempt"]) == ("draft", "veo", 2)
    assert "provider_alarm" in worker.text
    assert fake.veo.paid == 1
    assert await assert_books_balance(db, owner) == {"succeeded": 1}
