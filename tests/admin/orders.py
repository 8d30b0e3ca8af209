"""Orders that have come to where administrators look at them."""

from typing import Any
from uuid import UUID

from tallyframe.providers.base import Ticket
from tests.support.cast import Member
from tests.support.scripted import QUICKLY, Scripted, among, final
from tests.support.working import Bench

WAITS = "SELECT wake_at <= now(), attempt, retries, fence FROM generations WHERE id = $1"
CALLS = "SELECT kind FROM outbox WHERE ref = $1 ORDER BY kind"


async def run(bench: Bench, vendor: Scripted, generation_id: UUID) -> str:
    return await bench.runner(providers=among(vendor), retry=QUICKLY).run(generation_id)


async def order(alice: Member, **more: Any) -> UUID:
    return UUID((await alice.order(**more))["generation"]["id"])


async def failed(alice: Member, bench: Bench) -> UUID:
    """An order that has failed for good, and whose credits are back."""
    generation_id = await order(alice)
    assert await run(bench, Scripted("vendor", make=[final()]), generation_id) == "failed"
    return generation_id


async def asleep(alice: Member, bench: Bench) -> UUID:
    """An order for which a vendor has given a ticket, to be asked for in an hour."""
    generation_id = await order(alice, kind="video")
    assert await run(bench, Scripted("vendor", make=[Ticket("a-ticket", 3600)]), generation_id) == "snoozed"
    return generation_id


async def calls(owner: Any, generation_id: UUID) -> list[str]:
    return [row["kind"] for row in await owner.fetch(CALLS, generation_id)]
