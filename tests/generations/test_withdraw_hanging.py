"""A vendor that hangs when it is asked to stop holds up neither the other tickets nor the worker."""

import asyncio
from typing import Any

import pytest

from tallyframe.generations.end.withdraw import withdraw
from tallyframe.providers.base import Ticket
from tests.generations.test_withdraw import CALLS, cancel, runner_of, step, with_ticket
from tests.support.cast import Member
from tests.support.scripted import Scripted
from tests.support.working import Bench


async def test_a_vendor_that_hangs_is_left_soon_and_asked_again(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallyframe.generations.end.withdraw.CANCEL_SECONDS", 0.1)

    async def hang() -> None:
        await asyncio.get_running_loop().create_future()

    vendor = Scripted("a", make=[Ticket("t-1", 60)], cancel=[hang])
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    dependencies = runner_of(bench, vendor).dependencies
    assert await withdraw(dependencies, generation_id) == "again"
    assert await step(owner, generation_id) == ("ticket", None, False)
    assert await withdraw(dependencies, generation_id) == "withdrawn"
    assert [row["status"] for row in await owner.fetch(CALLS, generation_id)] == ["failed", "succeeded"]


async def test_all_tickets_of_a_generation_are_stopped_side_by_side(alice: Member, bench: Bench, owner: Any) -> None:
    async def with_the_other() -> bool:
        async with asyncio.timeout(10):
            while len(vendor.stopped) < 2:
                await asyncio.sleep(0.01)
        return True

    vendor = Scripted("a", make=[Ticket("t-1", 60)], cancel=[with_the_other, with_the_other])
    generation_id = await with_ticket(alice, bench, vendor)
    await owner.execute(
        """INSERT INTO generation_steps (generation_id, name, attempt, state, provider, model, ticket)
           SELECT generation_id, 'another', 1, state, provider, model, 't-2' FROM generation_steps
           WHERE generation_id = $1""",
        generation_id,
    )
    await cancel(alice, owner, generation_id)
    assert await withdraw(runner_of(bench, vendor).dependencies, generation_id) == "withdrawn"
    assert sorted(vendor.stopped) == ["t-1", "t-2"]
