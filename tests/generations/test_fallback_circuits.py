"""Orders past providers that are left alone for a while, and past those that are busy."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tallyframe.calls.gate import Gate
from tallyframe.db import Database
from tallyframe.generations.run.runner import Runner
from tests.conftest import ClientFor
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.scripted import PNG, QUICKLY, Scripted, among, failing, final, limits
from tests.support.shared import newcomer, shared_database
from tests.support.working import Bench

database_url = shared_database("test_fallback_circuits")

OPEN = (
    "INSERT INTO provider_circuits (provider, model, failures, open_until) VALUES ($1, $2, 5, now() + interval '9 s')"
)
TAKE_SLOT = "INSERT INTO provider_slots (provider, number, held_until) VALUES ('a', 1, now() + interval '9 s')"
CALLS = "SELECT provider, kind, status FROM ai_operations WHERE generation_id = $1 ORDER BY id"
STEPS = "SELECT count(*) FROM generation_steps WHERE generation_id = $1"


@pytest.fixture
async def alice(db: Database, client_for: ClientFor, owner: Any) -> AsyncIterator[Member]:
    """A new user; the books must balance when the test has ended."""
    yield await newcomer(db, client_for, owner)
    await assert_books_balance(db, owner)


def guarded(bench: Bench, *vendors: Scripted, **more: Any) -> Runner:
    """A runner for whom all of these have limits and circuits."""
    gate = Gate(bench.db, limits(*(vendor.name for vendor in vendors), **more))
    return bench.runner(providers=among(*vendors), retry=QUICKLY, gate=gate)


async def leave_alone(owner: Any, *vendors: Scripted) -> None:
    """Open the circuits of these, for nine seconds."""
    for vendor in vendors:
        await owner.execute(OPEN, vendor.name, vendor.model)


async def run_now(owner: Any, runner: Runner, generation_id: UUID) -> str:
    """Run it without waiting for its time."""
    await owner.execute("UPDATE generations SET wake_at = now() WHERE id = $1 AND wake_at IS NOT NULL", generation_id)
    await owner.execute("UPDATE generation_steps SET poll_at = NULL WHERE generation_id = $1", generation_id)
    return await runner.run(generation_id)


async def test_the_next_one_gets_the_order_at_once_and_nothing_is_asked_of_the_first(
    alice: Member, bench: Bench, owner: Any
) -> None:
    first, second = Scripted("a"), Scripted("b")
    await leave_alone(owner, first)
    project = await alice.order()
    assert await bench.drain(guarded(bench, first, second)) == ["succeeded"]
    assert (first.orders, second.orders) == (0, 1)
    calls = await owner.fetch(CALLS, UUID(project["generation"]["id"]))
    assert [tuple(call) for call in calls] == [("b", "order", "succeeded")]
    made = (await alice.project(project["id"]))["generation"]
    assert (made["provider"], made["attempt"]) == ("b", 1)


async def test_when_all_are_left_alone_it_is_tried_again_and_then_refunded(
    alice: Member, bench: Bench, owner: Any
) -> None:
    vendors = Scripted("a"), Scripted("b")
    await leave_alone(owner, *vendors)
    project = await alice.order()
    [generation_id] = await bench.due()
    runner = guarded(bench, *vendors)
    for _ in range(QUICKLY.max_retries):
        assert await run_now(owner, runner, generation_id) == "retried"
        waits = await owner.fetchval(
            "SELECT wake_at > now() + interval '5 s' FROM generations WHERE id = $1", generation_id
        )
        assert waits, "it comes back before a circuit can be closed"
    assert await run_now(owner, runner, generation_id) == "failed"
    assert (vendors[0].orders, vendors[1].orders, await owner.fetchval(STEPS, generation_id)) == (0, 0, 3)
    assert (await alice.project(project["id"]))["error"]["code"] == "provider_unavailable"
    assert await alice.available() == 20


async def test_it_comes_back_once_a_circuit_lets_it_try(alice: Member, bench: Bench, owner: Any) -> None:
    first, second = Scripted("a"), Scripted("b")
    await leave_alone(owner, first, second)
    await alice.order()
    [generation_id] = await bench.due()
    runner = guarded(bench, first, second)
    assert await runner.run(generation_id) == "retried"
    await owner.execute("UPDATE provider_circuits SET open_until = now() WHERE provider = 'b'")
    assert await run_now(owner, runner, generation_id) == "succeeded"
    assert (first.orders, second.orders) == (0, 1)


async def test_a_try_goes_elsewhere_when_failing_has_opened_the_circuit(alice: Member, bench: Bench) -> None:
    first, second = Scripted("a", make=[failing()]), Scripted("b")
    project = await alice.order()
    outcomes = await bench.drain(guarded(bench, first, second, breaker_failures=1))
    assert outcomes == ["retried", "succeeded"]
    assert (first.orders, second.orders) == (1, 1)
    assert (await alice.project(project["id"]))["generation"]["provider"] == "b"


async def test_the_last_word_of_the_next_one_leads_back_to_the_first(alice: Member, bench: Bench, owner: Any) -> None:
    first, second = Scripted("a"), Scripted("b", make=[final()])
    await leave_alone(owner, first)
    await alice.order()
    [generation_id] = await bench.due()
    runner = guarded(bench, first, second)
    assert await runner.run(generation_id) == "fell_back"
    await owner.execute("UPDATE provider_circuits SET open_until = now()")
    assert await runner.run(generation_id) == "succeeded"
    assert (first.orders, second.orders) == (1, 1)


async def test_a_verdict_on_the_order_opens_nothing(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[final()] * 3)
    runner = guarded(bench, vendor, breaker_failures=1)
    for _ in range(3):
        await alice.order()
        assert await bench.drain(runner) == ["failed"]
    assert vendor.orders == 3
    assert await owner.fetchval("SELECT count(*) FROM provider_circuits WHERE open_until IS NOT NULL") == 0


async def test_who_finds_the_first_one_busy_waits_for_it(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallyframe.calls.gate.SLOT_WAIT", 0.0)
    first, second = Scripted("a"), Scripted("b")
    runner = guarded(bench, first, second, most=1)
    project = await alice.order()
    [generation_id] = await bench.due()
    await owner.execute(TAKE_SLOT)
    for _ in range(QUICKLY.max_retries + 2):  # it costs none of its tries
        assert await run_now(owner, runner, generation_id) == "snoozed"
    assert (first.orders, second.orders, await owner.fetchval(STEPS, generation_id)) == (0, 0, 0)
    await owner.execute("UPDATE provider_slots SET held_until = now()")
    assert await run_now(owner, runner, generation_id) == "succeeded"
    made = (await alice.project(project["id"]))["generation"]
    assert (made["provider"], made["attempt"]) == ("a", 1)


@pytest.mark.parametrize("ends", ["the user cancels", "the worker stops"])
async def test_who_leaves_while_waiting_for_a_slot_orders_nothing(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch, ends: str
) -> None:
    monkeypatch.setattr("tallyframe.calls.gate.SLOT_LOOK", 0.01)
    vendor = Scripted("a")
    runner = guarded(bench, vendor, most=1)
    project = await alice.order()
    [generation_id] = await bench.due()
    await owner.execute(TAKE_SLOT)
    running = asyncio.create_task(runner.run(generation_id))
    await asyncio.sleep(0.1)
    if ends == "the user cancels":
        assert (await alice.http.post(f"/v1/projects/{project['id']}/cancel")).status_code == 200
    else:
        running.cancel()
        await asyncio.wait({running})
    await owner.execute("UPDATE provider_slots SET held_until = now()")
    await asyncio.gather(running, return_exceptions=True)
    await runner.dependencies.detached.aclose(5)
    assert (vendor.orders, await owner.fetchval(STEPS, generation_id)) == (0, 0)
    assert await owner.fetchval("SELECT count(*) FROM provider_slots WHERE held_until > now()") == 0


@pytest.mark.parametrize(("its_worker", "outcome"), [("dead", "succeeded"), ("alive", "snoozed")])
async def test_who_tries_a_sick_vendor_keeps_others_away_only_while_its_worker_lives(
    alice: Member, bench: Bench, owner: Any, its_worker: str, outcome: str
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def hang() -> object:
        asked.set()
        await answered.wait()
        return PNG

    vendor = Scripted("a", make=[hang])
    await leave_alone(owner, vendor)
    await owner.execute("UPDATE provider_circuits SET open_until = now()")
    first, second = [UUID((await alice.order())["generation"]["id"]) for _ in range(2)]
    runner = guarded(bench, vendor)
    trying = asyncio.create_task(runner.run(first))
    await asked.wait()
    if its_worker == "dead":
        await owner.execute("UPDATE generations SET lease_until = now() - interval '1 s' WHERE id = $1", first)
    assert await runner.run(second) == outcome
    answered.set()
    assert await trying == "succeeded"


async def test_ten_orders_at_a_sick_vendor_cost_it_one_question(alice: Member, bench: Bench, owner: Any) -> None:
    first, second = Scripted("a", make=[failing()] * 99), Scripted("b")
    await leave_alone(owner, first)
    await owner.execute("UPDATE provider_circuits SET open_until = now()")
    for _ in range(4):
        await alice.order()
    runner = guarded(bench, first, second)
    runner = replace(runner, dependencies=replace(runner.dependencies, retry=replace(QUICKLY, max_retries=0)))
    outcomes = await bench.drain(runner)
    assert sorted(outcomes) == ["fell_back", *["succeeded"] * 4]
    assert (first.orders, second.orders) == (1, 4)
