"""The durable steps of a run: what a vendor may bill is bought once, or booked as in doubt."""

import asyncio
from typing import Any
from uuid import UUID

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Answer, Call, Task
from tests.support.cast import Member
from tests.support.counting import Counting
from tests.support.working import Bench


async def _lose_after_intent(bench: Bench, owner: Any, provider: Counting) -> UUID:
    [generation_id] = await bench.due()
    task = asyncio.create_task(bench.with_provider(provider).run(generation_id))
    while not provider.bought:
        await asyncio.sleep(0.01)
    await owner.execute("UPDATE generations SET lease_until = now() - interval '1 second', fence = fence + 1")
    assert await task == "claim_lost"
    return generation_id


async def test_a_doubtful_call_is_booked_and_repeated_where_that_is_allowed(
    alice: Member, bench: Bench, owner: Any
) -> None:
    await alice.order("[hang:2] a cup")
    provider = Counting()
    generation_id = await _lose_after_intent(bench, owner, provider)
    assert await bench.with_provider(provider).run(generation_id) == "succeeded"
    assert len(set(provider.bought)) == 2
    assert await owner.fetchval("SELECT count(*) FROM generation_steps WHERE state IN ('in_doubt', 'orphaned')") == 1
    assert await alice.available() == 15


async def test_a_doubtful_call_is_refunded_and_never_repeated_where_it_is_not(
    alice: Member, bench: Bench, owner: Any
) -> None:
    await alice.order("[hang:2] a cup")
    provider = Counting(repeatable=False)
    generation_id = await _lose_after_intent(bench, owner, provider)
    assert await bench.with_provider(provider).run(generation_id) == "failed"
    assert len(provider.bought) == 1
    assert await alice.available() == 20


async def test_a_ticket_is_resumed_by_another_worker_and_bought_once(alice: Member, bench: Bench, owner: Any) -> None:
    await alice.order("[delay:0.5] a cup", kind="video", duration_seconds=1)
    provider = Counting()
    [generation_id] = await bench.due()
    assert await bench.with_provider(provider).run(generation_id) == "snoozed"
    # The next worker takes it and dies: its lease runs out.
    await owner.execute(
        "UPDATE generations SET lease_until = now() - interval '1 second', wake_at = NULL, fence = fence + 1"
    )
    outcomes = [await bench.with_provider(provider).run(generation_id)]
    outcomes += await bench.drain(bench.with_provider(provider))
    assert outcomes[-1] == "succeeded"
    assert len(provider.bought) == 1
    assert await alice.available() == 10


async def test_asking_for_a_ticket_may_fail_without_ending_it(alice: Member, bench: Bench) -> None:
    class Hiccup(Counting):
        asked = 0

        async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
            self.asked += 1
            if self.asked == 1:
                raise ProviderError(FailureCode.PROVIDER_UNAVAILABLE, retryable=True)
            return await super().collect(ticket, task, call)

    bench.settings = bench.settings.replaced(provider_poll=0.1)
    await alice.order(kind="video", duration_seconds=1)
    provider = Hiccup()
    assert await bench.drain(bench.with_provider(provider)) == ["snoozed", "snoozed", "succeeded"]
    assert len(provider.bought) == 1
