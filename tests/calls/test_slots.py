"""The slots: no vendor has more calls in flight than it may have, of all workers together."""

import asyncio
from time import monotonic, sleep
from typing import Any

import pytest

from tallyframe.calls import statements
from tallyframe.calls.gate import Gate
from tallyframe.db import WORKER_ROLE, Database
from tallyframe.settings import Settings
from tests.calls.conftest import USERS
from tests.support.calling import Desk, Outcome, Vendor
from tests.support.scripted import failing, final, limits

LONGEST_COOLDOWN = 30 * 1.25  # seconds
HOLD = 30.0 + 60.0  # seconds: an order's timeout in these tests, and the grace


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits for a slot for more than a tenth of a second."""
    monkeypatch.setattr("tallyframe.calls.gate.SLOT_WAIT", 0.1)
    monkeypatch.setattr("tallyframe.calls.gate.SLOT_LOOK", 0.01)


async def test_twenty_calls_of_two_workers_stay_within_the_limit(
    desk: Desk, elsewhere: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallyframe.calls.gate.SLOT_WAIT", 10.0)
    gates = desk.gate(most=3), desk.gate(elsewhere, most=3)
    in_flight: set[int] = set()
    seen: list[int] = []

    async def work(number: int) -> None:
        kind = ("order", "collect")[number % 2]
        async with desk.calling(gates[number % 3 % 2], kind, turn=number):
            in_flight.add(number)
            seen.append(len(in_flight))
            await asyncio.sleep(0.02)
            in_flight.remove(number)

    await asyncio.gather(*(work(number) for number in range(20)))
    assert len(seen) == 20
    assert max(seen) == 3
    assert await desk.held() == 0


async def test_who_finds_no_slot_gives_up_and_has_asked_nothing(desk: Desk) -> None:
    gate, answered = desk.gate(most=2), asyncio.Event()
    both = [await desk.start(gate, answered, turn=turn) for turn in range(2)]
    began = monotonic()
    await desk.finds_no_slot(gate, turn=2)
    assert 0.1 <= monotonic() - began < 15
    assert len(desk.entered) == len(await desk.rows()) == 2
    answered.set()
    await asyncio.gather(*both)


async def test_who_waits_gets_the_slot_that_becomes_free(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tallyframe.calls.gate.SLOT_WAIT", 5.0)
    gate, answered = desk.gate(most=1), asyncio.Event()
    first = await desk.start(gate, answered)
    second = asyncio.create_task(desk.call(gate))
    await asyncio.sleep(0.05)
    assert not second.done()
    answered.set()
    await asyncio.gather(first, second)


@pytest.mark.parametrize("outcome", [None, failing(), final(in_doubt=True), ZeroDivisionError()], ids=repr)
async def test_a_slot_is_free_after_its_call_however_that_went(desk: Desk, outcome: Outcome) -> None:
    gate = desk.gate(most=1)
    for _ in range(2):
        await asyncio.gather(desk.call(gate, outcome), return_exceptions=True)
        assert await desk.held() == 0
    assert len(desk.entered) == 2


async def test_a_slot_is_free_after_a_cancellation(desk: Desk) -> None:
    gate = desk.gate(most=1)
    task = await desk.start(gate, asyncio.Event())
    assert await desk.held() == 1
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await desk.held() == 0
    await desk.call(gate)


async def test_a_cancellation_at_any_moment_of_being_let_through_holds_nothing(desk: Desk, settings: Settings) -> None:
    worker = Database(
        settings.server.database_url.get_secret_value(), role=WORKER_ROLE, pool_size=1, statement_timeout=15
    )
    gate = desk.gate(worker)
    for steps in range(12):  # of the event loop, until the question to Postgres is under way
        await desk.call(gate)
        task = asyncio.create_task(desk.call(gate, asyncio.Event()))
        for _ in range(steps):
            await asyncio.sleep(0)
        sleep(0.003)  # Postgres has answered, and nobody has read it yet
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await worker.close()
    assert [row["status"] for row in await desk.rows() if row["status"] == "running"] == []
    assert await desk.held() == 0


async def test_who_is_cancelled_twice_while_being_let_through_holds_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    gate, asked, silent, call = desk.gate(most=1), asyncio.Event(), asyncio.Event(), Database.call

    async def call_late(self: Database, statement: Any, **parameters: Any) -> Any:
        if statement is statements.ENTER:
            asked.set()
            await silent.wait()
        return await call(self, statement, **parameters)

    monkeypatch.setattr(Database, "call", call_late)
    task = asyncio.create_task(desk.call(gate, asyncio.Event()))
    await asked.wait()
    for _ in range(2):
        task.cancel()
        await asyncio.sleep(0)
    await asyncio.gather(task, return_exceptions=True)
    silent.set()
    await asyncio.gather(*gate._leaving)
    assert await desk.held() == 0
    assert [row["status"] for row in await desk.rows()] == ["abandoned"]


async def test_the_slot_of_a_dead_worker_comes_back_when_its_call_must_be_over(desk: Desk, elsewhere: Database) -> None:
    dying, living, never = desk.gate(elsewhere, most=1, timeout=30.0), desk.gate(most=1), asyncio.Event()
    await desk.start(dying, never)
    await desk.later(HOLD - 5)
    await desk.finds_no_slot(living)
    await desk.later(10)
    await desk.call(living)


async def test_who_comes_back_from_the_dead_takes_no_slot_from_others(desk: Desk, elsewhere: Database) -> None:
    frozen, living = desk.gate(elsewhere, most=1), desk.gate(most=1)
    late, answered = asyncio.Event(), asyncio.Event()
    old = await desk.start(frozen, late)
    await desk.later(HOLD)
    new = await desk.start(living, answered)
    late.set()
    await old
    await desk.finds_no_slot(frozen)
    answered.set()
    await new


async def test_a_refused_order_uses_no_slot(desk: Desk) -> None:
    gate, answered = desk.gate(most=2), asyncio.Event()
    await desk.fail(gate, 3)
    await desk.refused(gate)
    assert await desk.held() == 0
    await desk.later(LONGEST_COOLDOWN)
    trying = await desk.start(gate, answered)
    for _ in range(3):
        await desk.refused(gate)
    assert await desk.held() == 1
    await desk.call(gate, kind="collect", turn=1)
    answered.set()
    await trying


async def test_a_try_without_a_slot_is_not_used_up(desk: Desk) -> None:
    gate, answered = desk.gate(most=1), asyncio.Event()
    await desk.fail(gate, 3)
    collecting = await desk.start(gate, answered, kind="collect")
    await desk.later(LONGEST_COOLDOWN)
    await desk.turned_away(gate)
    assert (await desk.circuit())["probe_until"] is None
    answered.set()
    await collecting
    await desk.call(gate)


@pytest.mark.parametrize(("most", "share"), [(1, 1), (2, 1), (4, 3), (5, 4), (8, 6)])
async def test_one_user_has_four_fifths_of_the_slots_and_others_find_the_rest(
    desk: Desk, elsewhere: Database, most: int, share: int
) -> None:
    gates, answered, each = (
        (desk.gate(most=most), desk.gate(elsewhere, most=most)),
        asyncio.Event(),
        ("order", "collect"),
    )
    calls = [
        await desk.start(gates[number % 2], answered, kind=each[number // 2 % 2], turn=number * USERS)
        for number in range(share)
    ]
    for gate, kind in zip(gates, each, strict=True):
        await desk.finds_no_slot(gate, kind=kind, turn=USERS)
    calls += [await desk.start(gates[0], answered, turn=1 + number) for number in range(most - share)]
    assert await desk.held() == most
    answered.set()
    await asyncio.gather(*calls)
    await desk.call(gates[0], turn=USERS)


async def test_who_has_its_share_gets_the_next_one_when_one_of_its_own_is_back(desk: Desk) -> None:
    gate, first, second = desk.gate(most=4), asyncio.Event(), asyncio.Event()
    ends = await desk.start(gate, first)
    stay = [await desk.start(gate, second, turn=turn * USERS) for turn in (1, 2)]
    await desk.finds_no_slot(gate)
    first.set()
    await ends
    await desk.call(gate)
    second.set()
    await asyncio.gather(*stay)


async def test_each_provider_has_slots_of_its_own(desk: Desk) -> None:
    gate, answered = Gate(desk.db, limits(desk.provider.name, "another", most=1)), asyncio.Event()
    here = await desk.start(gate, answered)
    other = Vendor("another", "another-1")
    there = await desk.start(gate, answered, provider=other)
    await desk.finds_no_slot(gate, provider=other)
    answered.set()
    await asyncio.gather(here, there)


async def test_a_provider_without_limits_has_no_slots(desk: Desk) -> None:
    gate, answered = Gate(desk.db, limits()), asyncio.Event()
    many = [await desk.start(gate, answered) for _ in range(5)]
    query = "SELECT count(*) FROM provider_slots WHERE provider = $1"
    assert await desk.owner.fetchval(query, desk.provider.name) == 0
    answered.set()
    await asyncio.gather(*many)


async def test_the_limit_can_be_raised_and_lowered(desk: Desk) -> None:
    answered = asyncio.Event()
    first = await desk.start(desk.gate(most=1), answered)
    more = [await desk.start(desk.gate(most=3), answered, turn=turn) for turn in (1, 2)]
    for most in (1, 3):
        await desk.finds_no_slot(desk.gate(most=most), turn=3)
    answered.set()
    await asyncio.gather(first, *more)
    lowered, last = desk.gate(most=1), asyncio.Event()
    only = await desk.start(lowered, last)
    await desk.finds_no_slot(lowered)
    last.set()
    await only
