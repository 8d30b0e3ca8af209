"""What comes of an order whose run has gone, and what survives a blip of the database: nothing is bought twice."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import WORKER_ROLE, Database
from tallyframe.errors import FailureCode, ProviderError, Unavailable
from tallyframe.generations.end.sweep import UNDER_WAY, sweep
from tallyframe.generations.end.withdraw import withdraw
from tallyframe.generations.run import lease
from tallyframe.generations.steps import detached
from tallyframe.generations.steps.rows import StepRows
from tallyframe.providers.base import Media, Ticket
from tallyframe.settings import Settings
from tests.conftest import owner_of
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.scripted import PNG, QUICKLY, Scripted, among, final
from tests.support.working import Bench

STEPS = "SELECT attempt, state, is_final FROM generation_steps ORDER BY attempt"
LOST = "UPDATE generations SET lease_until = now() - interval '1 second' WHERE lease_until IS NOT NULL"


def slow(started: asyncio.Event, go: asyncio.Event, answer: object) -> Callable[[], Awaitable[Any]]:
    async def say() -> Any:
        started.set()
        await go.wait()
        if isinstance(answer, Exception):
            raise answer
        return answer

    return say


@pytest.mark.parametrize(
    ("answer", "booked"),
    [
        (PNG, (1, "in_doubt", True)),
        (ProviderError(FailureCode.PROVIDER_UNAVAILABLE, in_doubt=True), (1, "in_doubt", True)),
        (final(FailureCode.CONTENT_POLICY), (1, "failed", True)),
    ],
    ids=["result", "doubt", "verdict"],
)
async def test_what_a_stopped_worker_still_hears_is_booked_and_nobody_orders_again(
    alice: Member, bench: Bench, db: Database, owner: Any, answer: Media | ProviderError, booked: tuple[Any, ...]
) -> None:
    started, go = asyncio.Event(), asyncio.Event()
    vendor = Scripted("a", make=[slow(started, go, answer)])
    runner = bench.runner(providers=among(vendor, Scripted("b")), retry=QUICKLY)
    await alice.order()
    [generation_id] = await bench.due()
    run = asyncio.create_task(runner.run(generation_id))
    await started.wait()
    run.cancel()  # as at the end of the grace
    await asyncio.gather(run, return_exceptions=True)
    go.set()
    await runner.dependencies.detached.aclose(5)
    assert tuple((await owner.fetch(STEPS))[0]) == booked

    other = Scripted("b")
    assert await bench.drain(bench.runner(providers=among(vendor, other), retry=QUICKLY)) == ["failed"]
    assert (vendor.orders, other.orders) == (1, 0)
    assert await assert_books_balance(db, owner) == {"failed": 1}


async def test_a_ticket_that_a_stopped_worker_still_gets_is_collected_by_the_next(
    alice: Member, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who is idle looks for work all the time, and leaves it alone until the answer has been heard."""
    monkeypatch.setattr(detached, "PATIENCE", 0.5)
    monkeypatch.setattr("tallyframe.generations.run.runner.HEARD", 0.5)
    started, go = asyncio.Event(), asyncio.Event()
    vendor = Scripted("a", make=[slow(started, go, Ticket("t-1", 0.0))])
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    await alice.order(kind="video")
    [generation_id] = await bench.due()
    run = asyncio.create_task(runner.run(generation_id))
    await started.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    idle = asyncio.create_task(bench.drain(bench.runner(providers=among(vendor), retry=QUICKLY)))
    await asyncio.sleep(0.2)
    go.set()
    await runner.dependencies.detached.aclose()
    assert await idle == ["succeeded"]
    assert (vendor.orders, vendor.asked) == (1, ["t-1"])


async def test_a_ticket_survives_a_blip_of_the_database(
    alice: Member, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, blips = lease.leave, [Unavailable(), Unavailable()]

    async def leave(*given: Any, **more: Any) -> bool:
        if blips:
            raise blips.pop()
        return await real(*given, **more)

    monkeypatch.setattr(lease, "leave", leave)
    monkeypatch.setattr("tallyframe.db.database.RETRY_PAUSE", 0.01)
    vendor = Scripted("a", make=[Ticket("t-1", 0.0)])
    await alice.order(kind="video")
    assert await bench.drain(bench.runner(providers=among(vendor), retry=QUICKLY)) == ["snoozed", "succeeded"]
    assert (vendor.orders, vendor.asked, blips) == (1, ["t-1"], [])


async def test_what_was_stored_when_the_claim_was_lost_is_used_and_not_bought_again(
    alice: Member, bench: Bench, worker_db: Database, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = StepRows.finish
    taken_over: list[object] = []

    async def finish(rows: StepRows, *given: Any) -> None:
        if not taken_over:
            await owner.execute(LOST)
            taken_over.append(await lease.claim(worker_db, lease.Holder("who dies at once", 30), generation_id))
        await real(rows, *given)

    monkeypatch.setattr(StepRows, "finish", finish)
    await alice.order()
    [generation_id] = await bench.due()
    vendor = Scripted("a")
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    assert await runner.run(generation_id) == "claim_lost"
    await owner.execute(LOST)
    assert await runner.run(generation_id) == "succeeded"
    assert vendor.orders == 1


async def test_who_stores_late_what_another_has_delivered_of_the_same_ticket_changes_nothing(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = await alice.order(kind="video")
    runner = bench.runner(providers=among(Scripted("a", make=[Ticket("t-1", 0.0)])), retry=QUICKLY)
    generation_id = UUID(project["generation"]["id"])
    assert await runner.run(generation_id) == "snoozed"
    frozen, thawed, real = asyncio.Event(), asyncio.Event(), runner.dependencies.storages.current.put

    async def put(*given: Any) -> None:
        frozen.set()
        await thawed.wait()
        await real(*given)

    monkeypatch.setattr(runner.dependencies.storages.current, "put", put)
    patient = replace(runner, limits=replace(runner.limits, lease_seconds=60, heartbeat_seconds=50))
    zombie = asyncio.create_task(patient.run(generation_id))
    await frozen.wait()
    await owner.execute(LOST)
    other = bench.runner(providers=among(Scripted("a")), retry=QUICKLY)
    assert await other.run(generation_id) == "succeeded"
    delivered = await alice.project(project["id"])
    thawed.set()
    assert await zombie == "claim_lost"
    assert await owner.fetchval("SELECT state FROM generation_steps") == "done"
    assert await alice.project(project["id"]) == delivered


async def test_one_that_cannot_be_ended_keeps_nobody_elses_credits_out(
    alice: Member, bob: Member, bench: Bench, db: Database, owner: Any
) -> None:
    await alice.order()
    await bob.order()
    await owner.execute("UPDATE generations SET expires_at = now()")
    await owner.execute("UPDATE generations SET expires_at = now() - interval '1 s' WHERE user_id = $1", alice.user.id)
    await owner.execute(
        f"ALTER TABLE ledger_entries ADD CHECK (kind <> 'refund' OR account_id <> '{alice.user.account_id}')"
    )
    assert await sweep(db) == (0, 1)
    assert (await alice.available(), await bob.available()) == (15, 20)


@asynccontextmanager
async def hurried(settings: Settings) -> AsyncIterator[Database]:
    """The database for somebody who waits half a second for a statement."""
    url = settings.server.database_url.get_secret_value()
    db = Database(url, role=WORKER_ROLE, pool_size=2, statement_timeout=0.5)
    yield db
    await db.close()


async def test_one_whose_account_is_locked_keeps_nobody_elses_credits_out(
    alice: Member, bob: Member, bench: Bench, settings: Settings, owner: Any
) -> None:
    await alice.order()
    await bob.order()
    await owner.execute("UPDATE generations SET expires_at = now()")
    async with hurried(settings) as db, owner_of(settings.server.database_url.get_secret_value()) as other:
        async with other.transaction():
            await other.execute("SELECT FROM accounts WHERE user_id = $1 FOR UPDATE", alice.user.id)
            assert await sweep(db) == (0, 1)
        assert await sweep(db) == (0, 1)
    assert (await alice.available(), await bob.available()) == (20, 20)


async def test_a_part_of_a_sweep_that_times_out_keeps_no_credits_out(
    alice: Member, bob: Member, bench: Bench, settings: Settings, owner: Any
) -> None:
    await alice.order()
    await bob.order()
    await owner.execute("UPDATE generations SET expires_at = now() WHERE user_id = $1", alice.user.id)
    await owner.execute("DELETE FROM outbox")
    await owner.execute("""
        CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(9); RETURN NEW; END';
        CREATE TRIGGER dawdle BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION dawdle()""")
    async with hurried(settings) as db:
        assert await sweep(db) == (0, 1)
    await owner.execute("DROP TRIGGER dawdle ON outbox")
    assert (await alice.available(), await bob.available()) == (20, 15)


async def test_a_result_that_is_no_use_again_and_again_ends_it_and_is_bought_nowhere_else(
    alice: Member, bench: Bench, db: Database, owner: Any
) -> None:
    broken = ProviderError(FailureCode.PROVIDER_REJECTED, retryable=True, operator_message="no MP4")
    vendor, other = Scripted("a", make=[Ticket("t-1", 0.0)], collect=[broken] * 99), Scripted("b")
    await alice.order(kind="video")
    outcomes = await bench.drain(bench.runner(providers=among(vendor, other), retry=QUICKLY))
    assert outcomes == ["snoozed"] * 5 + ["failed"]
    assert (vendor.orders, other.orders) == (1, 0)
    assert tuple((await owner.fetch(STEPS))[0]) == (1, "in_doubt", True)
    assert await assert_books_balance(db, owner) == {"failed": 1}


async def test_what_is_paid_but_gone_is_bought_nowhere_else(alice: Member, bench: Bench, owner: Any) -> None:
    gone = ProviderError(FailureCode.PROVIDER_REJECTED, spent=True, operator_message="no such file")
    vendor, other = Scripted("a", make=[Ticket("t-1", 0.0)], collect=[gone]), Scripted("b")
    await alice.order(kind="video")
    assert await bench.drain(bench.runner(providers=among(vendor, other), retry=QUICKLY)) == ["snoozed", "failed"]
    assert (vendor.orders, other.orders) == (1, 0)
    assert await alice.available() == 20


@pytest.mark.parametrize(("state", "becomes"), [("ticket", "withdrawn"), ("intent", "in_doubt")])
async def test_the_sweeper_finds_what_an_ended_generation_has_left_open(
    alice: Member, bench: Bench, db: Database, owner: Any, state: str, becomes: str
) -> None:
    project = await alice.order(kind="video")
    vendor = Scripted("a", make=[Ticket("t-1", 60)])
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    generation_id = UUID(project["generation"]["id"])
    assert await runner.run(generation_id) == "snoozed"
    assert (await alice.http.post(f"/v1/projects/{project['id']}/cancel")).status_code == 200
    ticket = "t-1" if state == "ticket" else None
    await owner.execute("UPDATE generation_steps SET state = $1, ticket = $2", state, ticket)
    await owner.execute("DELETE FROM outbox")
    await sweep(db)
    # An order may still be under way; a ticket has been written in the very moment of the end, when nobody saw it.
    assert await owner.fetchval("SELECT count(*) FROM outbox") == (1 if state == "ticket" else 0)
    past = "UPDATE generations SET finished_at = finished_at - make_interval(secs => $1)"
    await owner.execute(past, UNDER_WAY + 1)
    await sweep(db)
    assert await owner.fetchval("SELECT kind FROM outbox") == "withdraw"
    assert await withdraw(runner.dependencies, generation_id) == "withdrawn"
    assert await owner.fetchval("SELECT state FROM generation_steps") == becomes
    await sweep(db)
    assert await owner.fetchval("SELECT count(*) FROM outbox") == 0
