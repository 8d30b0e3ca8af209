"""The circuit: a vendor that fails again and again is left alone, and tried by one order before all others."""

import asyncio
from dataclasses import replace
from datetime import datetime
from time import sleep

import pytest

from tallyframe.calls.gate import Record
from tallyframe.db import WORKER_ROLE, Database
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.settings import Settings
from tests.calls.conftest import LOST
from tests.support.calling import Desk, TurnedAway, until_true
from tests.support.scripted import failing, final, limits

COOLDOWN = 30.0  # seconds, in all of these tests
LONGEST = COOLDOWN * 1.25  # with its jitter

CIRCUIT = "SELECT FROM provider_circuits WHERE provider = $1"
BLOCKED = "SELECT count(*) FROM pg_locks WHERE NOT granted"


async def test_it_opens_after_failures_in_a_row(desk: Desk) -> None:
    gate = desk.gate(breaker_failures=3)
    await desk.fail(gate, 2)
    assert (await desk.circuit())["open_until"] is None
    await desk.fail(gate)
    assert COOLDOWN - 5 < await desk.refused(gate) <= LONGEST
    assert len(await desk.rows()) == 3  # what was refused was no call


async def test_one_failure_is_enough_where_that_is_set(desk: Desk) -> None:
    gate = desk.gate(breaker_failures=1)
    await desk.fail(gate)
    await desk.refused(gate)


async def test_failures_at_once_all_count(desk: Desk, elsewhere: Database) -> None:
    gates = desk.gate(breaker_failures=100), desk.gate(elsewhere, breaker_failures=100)
    await asyncio.gather(*(desk.fail(gates[number % 2]) for number in range(12)))
    assert (await desk.circuit())["failures"] == 12


async def test_other_models_and_other_providers_are_not_concerned(desk: Desk) -> None:
    other_model, other_vendor = replace(desk.provider, model="another"), replace(desk.provider, name="another")
    gate = desk.gate(breaker_failures=2)
    await desk.fail(gate, provider=other_model)
    await desk.fail(gate)
    await desk.call(gate, provider=other_model)
    await desk.fail(gate)
    await desk.refused(gate)
    await desk.call(gate, provider=other_model)
    await desk.call(gate, provider=other_vendor)
    await desk.refused(gate)


async def test_it_stays_open_for_the_cooldown(desk: Desk) -> None:
    gate = desk.gate()
    await desk.fail(gate, 3)
    opened = await desk.circuit()
    await desk.later(COOLDOWN - 5)
    assert await desk.refused(gate) < LONGEST - 20
    assert (await desk.circuit())["failures"] == opened["failures"]
    await desk.later(LONGEST - COOLDOWN + 5)
    await desk.call(gate)


@pytest.mark.parametrize("dead", [0, 1])
async def test_one_order_tries_first_even_when_ten_ask_at_once(desk: Desk, elsewhere: Database, dead: int) -> None:
    gates = desk.gate(), desk.gate(elsewhere)
    await desk.fail(gates[0], 3)
    await desk.later(LONGEST)
    answered = asyncio.Event()
    for _ in range(dead):  # one has tried before them, and its worker has died
        await desk.start(gates[0], answered, turn=1)
        await desk.owner.execute(LOST, desk.generation_ids[1])
    async with desk.owner.transaction():  # all ten see that one of them may try, before any of them does
        await desk.owner.execute(f"{CIRCUIT} FOR UPDATE", desk.provider.name)
        asking = [asyncio.create_task(desk.call(gates[number % 2], answered)) for number in range(10)]
        async with asyncio.timeout(5):
            while await desk.owner.fetchval(BLOCKED) < len(asking):
                await asyncio.sleep(0.01)
    await until_true(lambda: sum(task.done() for task in asking) >= 9)
    assert (len(desk.entered), await desk.held()) == (3 + dead + 1, dead + 1)
    answered.set()
    outcomes = await asyncio.gather(*asking, return_exceptions=True)
    assert sum(isinstance(outcome, TurnedAway) for outcome in outcomes) == 9


async def test_an_answer_closes_it_for_all(desk: Desk) -> None:
    gate = desk.gate()
    await desk.fail(gate, 3)
    await desk.later(LONGEST)
    await desk.call(gate)
    answered = asyncio.Event()
    together = [await desk.start(gate, answered) for _ in range(3)]
    answered.set()
    await asyncio.gather(*together)
    await desk.fail(gate, 2)  # counted from the beginning
    await desk.call(gate)


async def test_a_failed_try_opens_it_again_at_once(desk: Desk) -> None:
    gate = desk.gate()
    await desk.fail(gate, 3)
    await desk.later(LONGEST)
    await desk.fail(gate)
    assert COOLDOWN - 5 < await desk.refused(gate) <= LONGEST
    await desk.later(LONGEST)
    await desk.call(gate)


async def test_a_vendor_that_asks_for_a_pause_gets_it_at_once(desk: Desk) -> None:
    gate = desk.gate()
    await desk.fail(gate, error=failing(FailureCode.PROVIDER_QUOTA, retry_after=45))
    assert 40 < await desk.refused(gate) <= 45
    await desk.later(45)
    await desk.call(gate)


async def test_a_pause_is_no_longer_than_the_longest_wait(desk: Desk) -> None:
    gate = desk.gate(retry_max_wait=60.0)
    await desk.fail(gate, error=final(FailureCode.PROVIDER_QUOTA, retry_after=86_400))
    assert 55 < await desk.refused(gate) <= 60


async def test_what_was_under_way_before_shortens_no_pause(desk: Desk) -> None:
    gate = desk.gate(breaker_failures=1)
    given_up = await desk.start(gate, asyncio.Event())
    opened: list[datetime] = []

    async def fail_late(_: Record) -> None:
        await desk.fail(gate)
        opened.append((await desk.circuit())["open_until"])
        raise failing(FailureCode.PROVIDER_QUOTA, retry_after=1)

    with pytest.raises(ProviderError):
        await desk.call(gate, fail_late)
    given_up.cancel()
    await asyncio.gather(given_up, return_exceptions=True)
    assert [(await desk.circuit())["open_until"]] == opened


async def test_a_full_quota_without_a_time_is_one_failure_of_many(desk: Desk) -> None:
    gate = desk.gate()
    await desk.fail(gate, error=failing(FailureCode.PROVIDER_QUOTA))
    assert (await desk.circuit())["open_until"] is None
    await desk.fail(gate, 2, failing(FailureCode.PROVIDER_QUOTA))
    await desk.refused(gate)


@pytest.mark.parametrize(
    "error",
    [
        failing(FailureCode.PROVIDER_UNAVAILABLE),
        failing(FailureCode.PROVIDER_TIMEOUT),
        final(FailureCode.PROVIDER_TIMEOUT, in_doubt=True),
        final(FailureCode.PROVIDER_UNAVAILABLE),
        final(FailureCode.INTERNAL, alarm=True),
    ],
    ids=str,
)
async def test_what_says_that_the_vendor_is_ill(desk: Desk, error: ProviderError) -> None:
    gate = desk.gate(breaker_failures=2)
    await desk.fail(gate, 2, error)
    await desk.refused(gate)


@pytest.mark.parametrize(
    "verdict",
    [
        None,
        final(FailureCode.CONTENT_POLICY),
        final(FailureCode.INVALID_INPUT),
        final(FailureCode.PROVIDER_REJECTED),
    ],
    ids=str,
)
async def test_an_answer_or_a_verdict_on_the_order_resets_the_count(desk: Desk, verdict: ProviderError | None) -> None:
    gate = desk.gate()
    await desk.fail(gate, 2)
    await asyncio.gather(desk.call(gate, verdict), return_exceptions=True)
    await desk.fail(gate, 2)
    await desk.call(gate)


@pytest.mark.parametrize("kind", ["collect", "cancel"])
async def test_what_costs_nothing_more_is_neither_stopped_nor_counted(desk: Desk, kind: str) -> None:
    gate = desk.gate()
    await desk.fail(gate, 5, failing(FailureCode.PROVIDER_QUOTA, retry_after=40), kind=kind)
    assert await desk.circuit() is None
    await desk.fail(gate, 3)
    opened = await desk.circuit()
    await desk.call(gate, kind=kind)
    assert await desk.circuit() == opened  # and such an answer is no sign of recovery
    await desk.later(LONGEST)
    await desk.call(gate, kind=kind)
    assert (await desk.circuit())["probe_until"] is None


async def test_an_abandoned_try_leaves_the_next_one_free(desk: Desk) -> None:
    gate = desk.gate()
    await desk.fail(gate, 3)
    await desk.later(LONGEST)
    trying = await desk.start(gate, asyncio.Event())
    await desk.refused(gate)
    trying.cancel()
    await asyncio.gather(trying, return_exceptions=True)
    answered = asyncio.Event()
    another = await desk.start(gate, answered)
    await desk.refused(gate)  # it told nothing of the vendor: still one at a time
    answered.set()
    await another


async def test_a_try_canceled_just_as_it_is_let_through_leaves_the_next_one_free(
    desk: Desk, settings: Settings
) -> None:
    worker = Database(
        settings.server.database_url.get_secret_value(), role=WORKER_ROLE, pool_size=1, statement_timeout=15
    )
    gate = desk.gate(worker)
    await desk.fail(gate, 3)
    await desk.later(LONGEST)
    for steps in range(8):  # of the event loop, until the question to Postgres is under way
        await desk.call(gate, kind="collect")
        task = asyncio.create_task(desk.call(gate, asyncio.Event()))
        for _ in range(steps):
            await asyncio.sleep(0)
        sleep(0.003)  # Postgres has answered, and nobody has read it yet
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
    await worker.close()
    assert (await desk.circuit())["probe_until"] is None


async def test_a_try_that_died_with_its_worker_blocks_no_longer_than_a_call_may_take(desk: Desk) -> None:
    gate = desk.gate(timeout=30.0)
    await desk.fail(gate, 3)
    await desk.later(LONGEST)
    answered = asyncio.Event()
    frozen = await desk.start(gate, answered)
    await desk.later(60)
    await desk.refused(gate)
    await desk.later(60)
    await desk.call(gate)
    answered.set()
    await frozen


async def test_what_was_under_way_before_does_not_let_a_second_order_try(desk: Desk) -> None:
    gate, never, answered = desk.gate(), asyncio.Event(), asyncio.Event()
    straggler = await desk.start(gate, never)
    await desk.fail(gate, 3)
    await desk.later(LONGEST)
    trying = await desk.start(gate, answered)
    straggler.cancel()
    await asyncio.gather(straggler, return_exceptions=True)
    await desk.refused(gate)
    answered.set()
    await trying


async def test_all_workers_share_it(desk: Desk, elsewhere: Database) -> None:
    here, there = desk.gate(), desk.gate(elsewhere)
    await desk.fail(here, 2)
    await desk.fail(there)
    await desk.refused(here)
    await desk.refused(there)
    await desk.later(LONGEST)
    await desk.call(there)
    await desk.call(here)


async def test_a_provider_without_limits_has_none(desk: Desk) -> None:
    gate = type(desk.gate())(desk.db, limits())
    await desk.fail(gate, 10)
    await desk.call(gate)
    assert await desk.circuit() is None
