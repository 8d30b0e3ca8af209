"""Who orders a thousand stands in line with each of them; who orders one comes next, and finds a slot."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import Database
from tallyframe.generations.run.dispatch import PICKS, Dispatcher
from tallyframe.generations.run.lease import Pick
from tallyframe.generations.run.runner import Runner
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.working import Bench


@pytest.fixture
def served(bench: Bench) -> Callable[..., Awaitable[UUID | None]]:
    """Runs what is next, and returns whose it was."""
    runner = bench.runner()

    async def serve(*, full: tuple[UUID, ...] = ()) -> UUID | None:
        claim = await runner.claim_next(full)
        if claim is None:
            return None
        await runner.run_claimed(claim)
        return claim.user_id

    return serve


async def orders(member: Member, count: int, prompt: str = "[fail:content_policy]") -> list[str]:
    """Place so many orders one after the other; return their generations' ids."""
    return [(await member.order(f"{prompt} a cup"))["generation"]["id"] for _ in range(count)]


async def test_one_order_comes_before_the_second_of_many(rich: Member, alice: Member, served: Any) -> None:
    await orders(rich, 5)
    await orders(alice, 2)
    turns = [await served() for _ in range(8)]
    assert turns == [rich.user.id, alice.user.id, rich.user.id, alice.user.id, *[rich.user.id] * 3, None]


@pytest.mark.parametrize("slow", ["asleep", "full"])
async def test_one_that_sleeps_does_not_let_newcomers_pass(
    rich: Member, alice: Member, bob: Member, served: Any, owner: Any, slow: str
) -> None:
    """Bob's order waits for a vendor, or has no free slot, with the lowest turn of all."""
    await orders(bob, 1)
    if slow == "asleep":
        asleep = "UPDATE generations SET status = 'processing', wake_at = now() + interval '1 hour'"
        await owner.execute(asleep)
    await orders(rich, 20)
    full = (bob.user.id,)
    for _ in range(10):
        assert await served(full=full) == rich.user.id
    turns = list[UUID | None]()
    await orders(alice, 1)
    for _ in range(8):
        turns.append(await served(full=full))
        if turns[-1] == alice.user.id:  # whenever hers is done, she orders again
            await orders(alice, 1)
    assert turns.count(rich.user.id) == 4


async def test_who_comes_late_is_next_and_not_behind_those_who_wait(rich: Member, alice: Member, served: Any) -> None:
    await orders(rich, 6)
    for _ in range(3):
        assert await served() == rich.user.id
    await orders(alice, 1)
    assert {await served() for _ in range(2)} == {rich.user.id, alice.user.id}


async def test_ones_own_orders_are_served_in_their_order(rich: Member, bench: Bench, owner: Any) -> None:
    placed = await orders(rich, 4)
    runner, taken = bench.runner(), []
    for number in range(8):
        claim = await runner.claim_next()
        assert claim is not None
        taken.append(str(claim.id))
        await runner.run_claimed(claim)
        if number < 4:
            placed += await orders(rich, 1)
    assert taken == placed


async def test_a_regular_user_is_not_put_off_by_newcomers(rich: Member, alice: Member, served: Any) -> None:
    """Who always has something running moves on with the others, and runs up no turns of which nobody else knows."""
    await orders(alice, 1)
    for _ in range(5):
        await orders(alice, 1)
        assert await served() == alice.user.id
    await orders(rich, 20)
    assert {await served() for _ in range(2)} == {alice.user.id, rich.user.id}


async def test_who_is_full_is_passed_over(rich: Member, alice: Member, served: Any) -> None:
    await orders(rich, 2)
    await orders(alice, 1)
    assert await served(full=(rich.user.id,)) == alice.user.id
    assert await served(full=(rich.user.id,)) is None
    assert await served(full=(alice.user.id,)) == rich.user.id


async def test_workers_that_ask_at_once_get_different_ones(rich: Member, bench: Bench) -> None:
    placed = await orders(rich, 8)
    runners = [replace(bench.runner(), worker=f"worker {number}") for number in range(2)]
    claims = await asyncio.gather(*(runners[number % 2].claim_next() for number in range(12)))
    assert sorted(str(claim.id) for claim in claims if claim) == sorted(placed)


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(20):
        while not await condition():
            await asyncio.sleep(0.02)


async def test_a_flood_leaves_a_slot_for_others(rich: Member, alice: Member, bench: Bench, owner: Any) -> None:
    async def running(member: Member) -> int:
        count = "SELECT count(*) FROM generations WHERE user_id = $1 AND lease_until IS NOT NULL"
        return int(await owner.fetchval(count, member.user.id))

    async def four_are_running() -> bool:
        return await running(rich) == 4

    async def hers_is_running() -> bool:
        return await running(alice) == 1

    await orders(rich, 10, "[hang:60]")
    dispatcher = Dispatcher(bench.runner(), slots=5, most=4)
    try:
        dispatcher.wake()
        await until(four_are_running)
        await orders(alice, 1, "[hang:60]")
        dispatcher.wake()
        await until(hers_is_running)
        assert await running(rich) == 4
    finally:
        await dispatcher.aclose(0)
    assert await running(rich) == await running(alice) == 0  # given back


async def test_one_wake_up_is_enough_for_all_that_is_there(
    rich: Member, alice: Member, bench: Bench, owner: Any, db: Database
) -> None:
    await orders(rich, 12)
    await orders(alice, 2)
    dispatcher = Dispatcher(bench.runner(), slots=3, most=2)
    dispatcher.wake()
    await until_all_ended(owner)
    await dispatcher.aclose(5)
    assert await assert_books_balance(db, owner) == {"failed": 14}


async def test_a_wake_up_while_nothing_was_found_is_not_lost(alice: Member, bench: Bench, owner: Any) -> None:
    """The order is written while the only slot looks for work, and finds none."""
    placed: list[str] = []

    class Looking(Runner):
        async def claim_next(self, full: Any = (), pick: Pick = Pick.NEW) -> Any:
            found = await super().claim_next(full, pick)
            if not placed:
                placed.extend(await orders(alice, 1))
                dispatcher.wake()
            return found

    runner = bench.runner()
    dispatcher = Dispatcher(Looking(runner.dependencies, runner.operations, runner.limits, "w"), slots=1, most=1)
    dispatcher.wake()
    await until_all_ended(owner)
    await dispatcher.aclose(5)
    assert await owner.fetchval("SELECT count(*) FROM generations") == 1


async def test_who_stops_takes_nothing_new(alice: Member, bench: Bench, owner: Any) -> None:
    await orders(alice, 2)
    dispatcher = Dispatcher(bench.runner(), slots=2, most=2)
    await dispatcher.aclose(0)
    dispatcher.wake()
    await dispatcher.look()
    await dispatcher.aclose(1)
    assert await owner.fetchval("SELECT count(*) FROM generations WHERE status = 'pending'") == 2


async def test_who_waits_for_a_vendor_does_not_keep_new_orders_waiting(rich: Member, bench: Bench, owner: Any) -> None:
    """Those whose tickets are looked at again and again are due again and again, before the last have had a turn."""
    await orders(rich, 4, "[delay:60]")
    runner = bench.runner()
    for _ in range(4):
        for _ in range(2):
            claim = await runner.claim_next()
            assert claim is not None
            assert await runner.run_claimed(claim) == "snoozed"
        await owner.execute("UPDATE generations SET wake_at = now() WHERE wake_at IS NOT NULL")
    assert await owner.fetchval("SELECT count(*) FROM generations WHERE started_at IS NULL") == 0
    fences = await owner.fetch("SELECT fence FROM generations")
    assert {row["fence"] for row in fences} == {2}


@pytest.fixture
async def due_again(rich: Member, bench: Bench, owner: Any) -> list[UUID]:
    """Orders of one user that are due again, with the lowest turns of all."""
    due = [UUID(each) for each in await orders(rich, 10)]
    await owner.execute("UPDATE generations SET status = 'processing', wake_at = now(), turn = 0")
    return due


async def test_a_new_order_is_next_before_all_that_are_due_again(
    due_again: list[UUID], alice: Member, bench: Bench
) -> None:
    runner, mine = bench.runner(), {UUID(each) for each in await orders(alice, 2)}
    claims = [await runner.claim_next(pick=pick) for pick in PICKS]
    assert [claim and claim.id in mine for claim in claims] == [True, False, True, False, False]


async def test_who_is_due_again_waits_for_no_queue_of_new_orders(
    due_again: list[UUID], alice: Member, bench: Bench
) -> None:
    await orders(alice, 4)
    claims = [await bench.runner().claim_next(pick=Pick.AGAIN) for _ in range(11)]
    assert [claim and claim.id in due_again for claim in claims] == [*[True] * 10, False]


async def test_who_is_due_again_takes_no_turn_from_those_who_wait(
    due_again: list[UUID], alice: Member, bob: Member, bench: Bench, owner: Any
) -> None:
    await orders(alice, 2)
    await owner.execute("UPDATE generations SET turn = 1000 WHERE id = ANY ($1)", due_again)
    assert await bench.runner().claim_next(pick=Pick.AGAIN)
    bobs = UUID((await orders(bob, 1))[0])
    claims = [await bench.runner().claim_next() for _ in range(2)]
    assert bobs in {claim.id for claim in claims if claim}


async def test_as_many_workers_as_there_may_be_find_something_in_the_same_instant(
    rich: Member, bench: Bench, owner: Any
) -> None:
    *others, last = await orders(rich, 41)
    async with owner.transaction():  # as 40 others have them that are claiming now
        await owner.execute("SELECT FROM generations WHERE id = ANY ($1::uuid[]) FOR UPDATE", others)
        claim = await bench.runner().claim_next()
    assert claim is not None
    assert str(claim.id) == last


async def test_those_who_come_again_and_again_do_not_put_off_a_second_order_for_good(
    rich: Member, alice: Member, bench: Bench, owner: Any
) -> None:
    turns: list[UUID] = []

    class Again(Runner):
        """Whenever an order of rich's has ended, the next one is there."""

        async def run_claimed(self, claim: Any) -> str:
            outcome = await super().run_claimed(claim)
            turns.append(claim.user_id)
            if claim.user_id == rich.user.id and len(turns) < 30:
                await orders(rich, 1)
            return outcome

    await orders(alice, 2)
    await orders(rich, 2)
    runner = bench.runner()
    dispatcher = Dispatcher(Again(runner.dependencies, runner.operations, runner.limits, "w"), slots=1, most=1)
    dispatcher.wake()
    await until_all_ended(owner)
    await dispatcher.aclose(5)
    assert [place for place, user in enumerate(turns) if user == alice.user.id][1] < 15
