"""Nobody waits for it any more: the vendor that is still at work is asked to stop, and what came of that is booked."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tallyframe.calls.gate import Gate
from tallyframe.db import Database
from tallyframe.generations.end.sweep import Sweeper, sweep
from tallyframe.generations.end.withdraw import MOST_ASKED, NOT_STOPPED, STOPPED, withdraw
from tallyframe.generations.run.runner import Runner
from tallyframe.lanes import QUEUES
from tallyframe.outbox.relay import WITHDRAWALS, connect, relay
from tallyframe.providers.base import Ticket
from tallyframe.settings import Settings
from tests.conftest import ClientFor, owner_of
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.scripted import QUICKLY, Scripted, among, failing, final, limits
from tests.support.shared import newcomer, shared_database
from tests.support.working import Bench

database_url = shared_database("test_withdraw")

STEP = "SELECT state, operator_message, ended_at IS NOT NULL FROM generation_steps WHERE generation_id = $1"
CALLS = "SELECT status FROM ai_operations WHERE generation_id = $1 AND kind = 'cancel' ORDER BY id"


@pytest.fixture
async def alice(db: Database, client_for: ClientFor, owner: Any) -> AsyncIterator[Member]:
    """A new user; the books must balance when the test has ended."""
    yield await newcomer(db, client_for, owner)
    await assert_books_balance(db, owner)


def runner_of(bench: Bench, *vendors: Scripted) -> Runner:
    return bench.runner(providers=among(*vendors), retry=QUICKLY)


async def with_ticket(alice: Member, bench: Bench, vendor: Scripted) -> UUID:
    """Have a video ordered for which the vendor has given a ticket; return the generation."""
    generation_id = UUID((await alice.order(kind="video"))["generation"]["id"])
    assert await runner_of(bench, vendor).run(generation_id) == "snoozed"
    return generation_id


async def cancel(alice: Member, owner: Any, generation_id: UUID) -> None:
    project = await owner.fetchval("SELECT project_id FROM generations WHERE id = $1", generation_id)
    assert (await alice.http.post(f"/v1/projects/{project}/cancel")).status_code == 200


async def left_to_do(owner: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await owner.fetch("SELECT kind, ref FROM outbox")]


async def step(owner: Any, generation_id: UUID) -> tuple[Any, ...]:
    [row] = await owner.fetch(STEP, generation_id)
    return tuple(row)


async def until(connection: Any, query: str, *values: Any) -> None:
    async with asyncio.timeout(5):
        while not await connection.fetchval(query, *values):
            await asyncio.sleep(0.01)


async def test_what_the_user_cancels_is_stopped_at_the_vendor_once(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 60)])
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    assert await left_to_do(owner) == [("withdraw", generation_id)]
    assert await step(owner, generation_id) == ("ticket", None, False)

    dependencies = runner_of(bench, vendor).dependencies
    assert await withdraw(dependencies, generation_id) == "withdrawn"
    assert await withdraw(dependencies, generation_id) == "not_taken"
    assert (vendor.stopped, vendor.asked) == (["t-1"], [])
    assert await step(owner, generation_id) == ("withdrawn", STOPPED, True)
    assert await left_to_do(owner) == []
    assert [row["status"] for row in await owner.fetch(CALLS, generation_id)] == ["succeeded"]
    assert await alice.available() == 20


async def test_what_is_too_old_is_stopped_too(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 60)])
    generation_id = await with_ticket(alice, bench, vendor)
    await owner.execute("UPDATE generations SET expires_at = now() WHERE id = $1", generation_id)
    assert await Sweeper(bench.db).expire_old() == 1
    assert await left_to_do(owner) == [("withdraw", generation_id)]
    assert await withdraw(runner_of(bench, vendor).dependencies, generation_id) == "withdrawn"
    assert vendor.stopped == ["t-1"]
    assert await alice.available() == 20


async def test_what_has_been_tried_too_often_is_stopped_too(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 60)])
    generation_id = await with_ticket(alice, bench, vendor)
    await owner.execute("UPDATE generations SET attempt = 21, wake_at = now() WHERE id = $1", generation_id)
    assert await runner_of(bench, vendor).run(generation_id) == "failed"
    assert await left_to_do(owner) == [("withdraw", generation_id)]


async def test_a_vendor_that_stops_nothing_may_bill_it(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 60)], cancel=[False])
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    assert await withdraw(runner_of(bench, vendor).dependencies, generation_id) == "withdrawn"
    assert await step(owner, generation_id) == ("withdrawn", NOT_STOPPED, True)
    assert await left_to_do(owner) == []


async def test_a_vendor_that_cannot_be_asked_is_asked_again(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 60)], cancel=[failing(), final()])
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    dependencies = runner_of(bench, vendor).dependencies
    for _ in range(2):
        assert await withdraw(dependencies, generation_id) == "again"
        assert await step(owner, generation_id) == ("ticket", None, False)
        assert await left_to_do(owner) == [("withdraw", generation_id)]
    assert await withdraw(dependencies, generation_id) == "withdrawn"
    assert await step(owner, generation_id) == ("withdrawn", STOPPED, True)
    assert [row["status"] for row in await owner.fetch(CALLS, generation_id)] == ["failed", "failed", "succeeded"]


async def test_it_is_left_alone_when_asked_often_enough(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 60)], cancel=[failing()] * 99)
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    dependencies, outcomes = runner_of(bench, vendor).dependencies, []
    while await left_to_do(owner):
        outcomes.append(await withdraw(dependencies, generation_id))
    assert outcomes == ["again"] * (MOST_ASKED - 1) + ["withdrawn"]
    assert len(vendor.stopped) == MOST_ASKED
    assert await step(owner, generation_id) == ("withdrawn", NOT_STOPPED, True)


async def test_a_job_that_waited_for_long_has_asked_nobody(alice: Member, bench: Bench, owner: Any) -> None:
    """Behind a full worker, the relay goes on enqueuing it."""
    vendor = Scripted("a", make=[Ticket("t-1", 60)], cancel=[failing(), True])
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    await owner.execute("UPDATE outbox SET rings = 99")
    dependencies = runner_of(bench, vendor).dependencies
    assert [await withdraw(dependencies, generation_id) for _ in range(2)] == ["again", "withdrawn"]
    assert await step(owner, generation_id) == ("withdrawn", STOPPED, True)


async def test_a_busy_vendor_is_asked_all_the_same(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 60)])
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    runner = bench.runner(providers=among(vendor), gate=Gate(bench.db, limits("a", most=1)))
    await owner.execute("INSERT INTO provider_slots VALUES ('a', 1, NULL, now() + interval '9 s')")
    assert await withdraw(runner.dependencies, generation_id) == "withdrawn"
    assert len(vendor.stopped) == 1


async def test_nothing_is_withdrawn_where_no_vendor_is_at_work(alice: Member, bench: Bench, owner: Any) -> None:
    waiting = await alice.order()
    await cancel(alice, owner, UUID(waiting["generation"]["id"]))
    refused = Scripted("a", make=[final()])
    await alice.order()
    assert await bench.drain(runner_of(bench, refused)) == ["failed"]
    judged = Scripted("b", make=[Ticket("t-1", 0.0)], collect=[final()])
    await alice.order(kind="video")
    assert await bench.drain(runner_of(bench, judged)) == ["snoozed", "failed"]
    delivered = Scripted("c", make=[Ticket("t-1", 0.0)])
    await alice.order(kind="video")
    assert await bench.drain(runner_of(bench, delivered)) == ["snoozed", "succeeded"]
    assert await left_to_do(owner) == []
    assert [vendor.stopped for vendor in (refused, judged, delivered)] == [[], [], []]


async def test_a_provider_that_is_gone_cannot_be_asked(alice: Member, bench: Bench, owner: Any) -> None:
    vendor, another = Scripted("a", make=[Ticket("t-1", 60)]), Scripted("b")
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    assert await withdraw(runner_of(bench, another).dependencies, generation_id) == "again"  # others may know it
    await owner.execute("UPDATE generations SET finished_at = finished_at - interval '1 hour'")
    assert await withdraw(runner_of(bench, another).dependencies, generation_id) == "withdrawn"
    assert await step(owner, generation_id) == ("withdrawn", NOT_STOPPED, True)
    assert (vendor.stopped, another.stopped) == ([], [])
    assert await left_to_do(owner) == []


async def test_the_tickets_of_others_stay_as_they_are(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[Ticket("hers", 60), Ticket("other", 0.0)])
    canceled = await with_ticket(alice, bench, vendor)
    other = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, canceled)
    assert await withdraw(runner_of(bench, vendor).dependencies, canceled) == "withdrawn"
    assert vendor.stopped == ["hers"]
    assert await step(owner, other) == ("ticket", None, False)
    assert await runner_of(bench, vendor).run(other) == "succeeded"
    assert vendor.asked == ["other"]


async def test_what_is_still_wanted_is_not_stopped(alice: Member, bench: Bench, owner: Any) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 0.0)])
    generation_id = await with_ticket(alice, bench, vendor)
    await owner.execute("INSERT INTO outbox (kind, ref) VALUES ('withdraw', $1)", generation_id)
    await withdraw(runner_of(bench, vendor).dependencies, generation_id)
    assert vendor.stopped == []
    assert await runner_of(bench, vendor).run(generation_id) == "succeeded"


async def test_the_relay_rings_for_it_and_the_worker_knows_how(
    alice: Member, bench: Bench, owner: Any, settings: Settings
) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 60)])
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    redis = connect(settings.server.redis_url.get_secret_value())
    assert await relay(bench.db, redis, QUEUES) == 1
    [job] = [job for job in await redis.queued_jobs(queue_name=WITHDRAWALS) if job.function == "withdraw"]
    await redis.aclose(close_connection_pool=True)
    await bench.handle(job.function, UUID(job.args[0]), runner_of(bench, vendor))
    assert vendor.stopped == ["t-1"]
    assert await left_to_do(owner) == []


async def test_a_ticket_that_comes_after_the_end_is_withdrawn_too(alice: Member, bench: Bench, owner: Any) -> None:
    async def cancel_meanwhile() -> Ticket:
        await cancel(alice, owner, generation_id)
        return Ticket("late", 60)

    vendor = Scripted("a", make=[cancel_meanwhile])
    generation_id = UUID((await alice.order(kind="video"))["generation"]["id"])
    assert await runner_of(bench, vendor).run(generation_id) == "claim_lost"
    assert await left_to_do(owner) == [("withdraw", generation_id)]
    assert await withdraw(runner_of(bench, vendor).dependencies, generation_id) == "withdrawn"
    assert vendor.stopped == ["late"]


async def test_a_ticket_that_comes_while_it_is_being_canceled_is_withdrawn_too(
    alice: Member, bench: Bench, owner: Any, database_url: str
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def answer() -> Ticket:
        asked.set()
        await answered.wait()
        return Ticket("just then", 60)

    vendor = Scripted("a", make=[answer])
    generation_id = UUID((await alice.order(kind="video"))["generation"]["id"])
    running = asyncio.create_task(runner_of(bench, vendor).run(generation_id))
    await asked.wait()
    async with owner_of(database_url) as another, another.transaction():  # so that canceling takes its time
        await another.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", alice.user.account_id)
        canceling = asyncio.create_task(cancel(alice, owner, generation_id))
        await until(another, "SELECT count(*) > 0 FROM pg_locks WHERE NOT granted")
        answered.set()  # and the run wants to keep the ticket and to leave, in one statement
        await until(another, "SELECT count(*) > 1 FROM pg_locks WHERE NOT granted")
    await asyncio.gather(canceling, running)
    assert await withdraw(runner_of(bench, vendor).dependencies, generation_id) == "withdrawn"
    assert vendor.stopped == ["just then"]


@pytest.mark.parametrize("resolution", [None, "settled", "refunded"])
async def test_a_doubt_whose_ticket_came_in_the_moment_of_the_end_is_withdrawn_too_and_once(
    alice: Member, bench: Bench, owner: Any, resolution: str | None
) -> None:
    vendor = Scripted("a", make=[Ticket("just then", 60)])
    generation_id = await with_ticket(alice, bench, vendor)
    await cancel(alice, owner, generation_id)
    await owner.execute("DELETE FROM outbox")  # who ended it saw no ticket, and who kept the ticket saw no end
    change = "UPDATE generation_steps SET state = 'in_doubt', resolution = $2 WHERE generation_id = $1"
    await owner.execute(change, generation_id, resolution)
    await sweep(bench.db)
    assert ("withdraw", generation_id) in await left_to_do(owner)
    assert await withdraw(runner_of(bench, vendor).dependencies, generation_id) == "withdrawn"
    assert vendor.stopped == ["just then"]
    assert await step(owner, generation_id) == ("withdrawn", STOPPED, True)
    await sweep(bench.db)
    assert ("withdraw", generation_id) not in await left_to_do(owner)


async def test_a_doubt_without_a_ticket_or_of_a_live_generation_is_left_alone(
    alice: Member, bench: Bench, owner: Any
) -> None:
    vendor = Scripted("a", make=[Ticket("t-1", 60), Ticket("t-2", 60)])
    live, ended = [await with_ticket(alice, bench, vendor) for _ in range(2)]
    await cancel(alice, owner, ended)
    await owner.execute("DELETE FROM outbox WHERE kind = 'withdraw'")
    await owner.execute("UPDATE generation_steps SET state = 'in_doubt' WHERE generation_id = $1", live)
    change = "UPDATE generation_steps SET state = 'in_doubt', ticket = NULL WHERE generation_id = $1"
    await owner.execute(change, ended)
    await owner.execute("UPDATE generations SET finished_at = now() - interval '1 hour' WHERE id = $1", ended)
    await sweep(bench.db)
    left = await left_to_do(owner)
    assert ("run_generation", live) in left
    assert not {("withdraw", live), ("withdraw", ended)} & set(left)
