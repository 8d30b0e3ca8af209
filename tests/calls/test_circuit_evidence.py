"""What counts for a circuit, and what doesn't: one user's order is not the vendor's health, and neither is the past."""

import asyncio
from typing import Any

import pytest

from tallyframe.calls import gate as gates
from tallyframe.calls.statements import LEAVE
from tallyframe.errors import FailureCode, ProviderError, Unavailable
from tests.calls.conftest import LOST
from tests.support.calling import Desk, until_true
from tests.support.scripted import failing


async def test_the_tries_of_one_generation_count_once(desk: Desk) -> None:
    gate = desk.gate()
    await desk.fail(gate, 10, turn=0)
    assert (await desk.circuit())["failures"] == 1
    await desk.fail(gate, 2)
    await desk.refused(gate)


async def test_answers_that_leave_an_order_in_doubt_open_it(desk: Desk) -> None:
    gate = desk.gate()
    await desk.fail(gate, 3, ProviderError(FailureCode.PROVIDER_REJECTED, in_doubt=True))
    await desk.refused(gate)


@pytest.mark.parametrize("error", [None, ProviderError(FailureCode.PROVIDER_QUOTA, retryable=True, retry_after=40)])
async def test_an_answer_to_an_older_order_neither_closes_it_nor_shortens_a_pause(
    desk: Desk, error: ProviderError | None
) -> None:
    gate, answered = desk.gate(), asyncio.Event()
    older = await desk.start(gate, answered)
    await desk.fail(gate, 3 if error is None else 1, error or failing())
    before = (await desk.circuit())["open_until"]
    answered.set()
    await older
    assert (await desk.circuit())["open_until"] == before
    await desk.refused(gate)


async def test_who_is_stopped_by_a_try_under_way_hears_that(desk: Desk) -> None:
    gate, answered = desk.gate(), asyncio.Event()
    await desk.fail(gate, 3)
    assert not (await desk.turned_away(gate)).is_being_tried
    await desk.later(3600)
    trying = await desk.start(gate, answered)
    assert (await desk.turned_away(gate)).is_being_tried
    answered.set()
    await trying
    await desk.call(gate)


async def test_a_try_whose_lease_has_run_out_leaves_the_next_one_free(desk: Desk) -> None:
    gate, never, answered = desk.gate(), asyncio.Event(), asyncio.Event()
    await desk.fail(gate, 3)
    await desk.later(3600)
    await desk.start(gate, never)
    await desk.refused(gate, turn=1)
    await desk.owner.execute(LOST, desk.generation_id)
    another = await desk.start(gate, answered, turn=1)
    await desk.refused(gate, turn=2)  # still one at a time
    answered.set()
    await another
    await desk.call(gate, turn=2)


async def test_a_pause_named_to_an_older_order_does_not_let_a_second_one_try(desk: Desk) -> None:
    gate, late, answered = desk.gate(), asyncio.Event(), asyncio.Event()

    async def fail_late(_: gates.Record) -> None:
        await late.wait()
        raise failing(FailureCode.PROVIDER_QUOTA, retry_after=40)

    older = asyncio.create_task(desk.call(gate, fail_late, turn=1))
    await until_true(lambda: bool(desk.entered))
    await desk.fail(gate, 3)
    await desk.later(3600)
    trying = await desk.start(gate, answered)
    late.set()
    await asyncio.gather(older, return_exceptions=True)
    await desk.later(45)
    assert await desk.refused(gate, turn=2) <= 0
    answered.set()
    await trying


async def test_a_slot_is_free_again_soon_after_a_blip_of_the_database(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gates, "LEAVE_AGAIN", 0.02)
    gate, real, blips = desk.gate(), desk.db.call, [Unavailable(), Unavailable()]

    async def call(statement: Any, **parameters: Any) -> Any:
        if statement is LEAVE and blips:
            raise blips.pop()
        return await real(statement, **parameters)

    monkeypatch.setattr(desk.db, "call", call)
    await desk.call(gate)
    assert await desk.held() == 1
    await until_true(lambda: not gate._leaving)
    assert await desk.held() == 0
    assert [row["status"] for row in await desk.rows()] == ["succeeded"]
