"""What became of an order in doubt: said once, logged, and never paid twice."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from tallyframe.admin import doubts
from tallyframe.admin.log import Decision
from tallyframe.db import Database
from tallyframe.generations.run import lease
from tallyframe.generations.steps.decide import IN_DOUBT
from tallyframe.providers.base import Ticket
from tests.admin.conftest import WHY, Acts
from tests.admin.orders import order, run
from tests.support.cast import Member
from tests.support.remains import problem
from tests.support.scripted import Scripted, failing
from tests.support.shared import shared_database
from tests.support.working import Bench

database_url = shared_database("test_admin_doubts")

STEPS = "SELECT state, resolution FROM generation_steps WHERE generation_id = $1 ORDER BY attempt"
MONEY = "SELECT kind, amount FROM ledger_entries WHERE generation_id = $1 ORDER BY version"


async def ended(alice: Member, bench: Bench) -> UUID:
    """One that has failed, with its credits back, because nobody knows what the vendor did."""
    generation_id = await order(alice)
    assert await run(bench, Scripted("vendor", make=[failing(in_doubt=True)]), generation_id) == "failed"
    return generation_id


async def waiting(alice: Member, bench: Bench) -> UUID:
    """One that waits to be ordered again from a vendor that allows that, although the first order is in doubt."""
    generation_id = await order(alice)
    vendor = Scripted("vendor", make=[failing(in_doubt=True, retry_after=30.0)], repeatable=True)
    assert await run(bench, vendor, generation_id) == "retried"
    return generation_id


async def steps(owner: Any, generation_id: UUID) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await owner.fetch(STEPS, generation_id)]


async def money(owner: Any, generation_id: UUID) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await owner.fetch(MONEY, generation_id)]


async def resolve(acts: Acts, generation_id: UUID, outcome: str) -> Any:
    return await acts.do(f"generations/{generation_id}/resolve", outcome=outcome)


@pytest.mark.parametrize("outcome", ["settled", "refunded"])
async def test_a_doubt_of_an_ended_one_is_closed_and_no_money_moves(
    acts: Acts, alice: Member, bench: Bench, owner: Any, outcome: str
) -> None:
    generation_id = await ended(alice, bench)
    before = await money(owner, generation_id)
    assert before == [("debit", -5), ("refund", 5)]
    assert (await acts.look(f"generations/{generation_id}"))["in_doubt"] is True
    answer = await resolve(acts, generation_id, outcome)
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["in_doubt"], body["status"], body["steps"][0]["resolution"]) == (False, "failed", outcome)
    assert await steps(owner, generation_id) == [("in_doubt", outcome)]
    assert await money(owner, generation_id) == before
    [line] = await acts.lines(alice)
    assert (line["action"], line["admin_id"], line["reason"]) == ("resolve", acts.admin.user.id, WHY)
    assert (line["generation_id"], json.loads(line["details"])) == (generation_id, {"outcome": outcome})
    for again in ("settled", "refunded"):
        problem(await resolve(acts, generation_id, again), 409, "no_open_doubt")
    assert await steps(owner, generation_id) == [("in_doubt", outcome)]
    assert len(await acts.lines(alice)) == 1


async def test_all_doubts_of_one_are_closed_together(acts: Acts, alice: Member, bench: Bench, owner: Any) -> None:
    generation_id = await order(alice)
    doubt = failing(in_doubt=True)
    vendor = Scripted("vendor", make=[doubt, doubt], repeatable=True)
    while await run(bench, vendor, generation_id) != "succeeded":
        await owner.execute("TRUNCATE provider_circuits")
    assert (await resolve(acts, generation_id, "settled")).status_code == 200
    assert await steps(owner, generation_id) == [("in_doubt", "settled"), ("in_doubt", "settled"), ("done", None)]
    assert await money(owner, generation_id) == [("debit", -5)]
    assert await acts.actions(alice) == ["resolve"]


async def test_one_that_only_waits_for_its_doubt_ends_refunded(
    acts: Acts, alice: Member, bench: Bench, owner: Any
) -> None:
    generation_id = await waiting(alice, bench)
    body = (await resolve(acts, generation_id, "refunded")).json()
    assert (body["status"], body["in_doubt"]) == ("failed", False)
    assert (body["error"]["code"], body["error"]["message"]) == ("provider_timeout", IN_DOUBT)
    assert await steps(owner, generation_id) == [("in_doubt", "refunded")]
    assert await money(owner, generation_id) == [("debit", -5), ("refund", 5)]
    assert await owner.fetchval("SELECT count(*) FROM outbox WHERE ref = $1", generation_id) == 0
    assert await acts.actions(alice) == ["resolve"]
    assert (await alice.project(body["project_id"]))["status"] == "failed"
    problem(await resolve(acts, generation_id, "refunded"), 409, "no_open_doubt")
    assert await run(bench, Scripted("vendor"), generation_id) == "not_taken"


async def test_one_that_is_not_over_cannot_be_settled(acts: Acts, alice: Member, bench: Bench, owner: Any) -> None:
    generation_id = await waiting(alice, bench)
    problem(await resolve(acts, generation_id, "settled"), 409, "generating")
    assert await steps(owner, generation_id) == [("in_doubt", None)]
    assert await acts.lines(alice) == []
    # Once it is over, it can.
    assert (await acts.do(f"generations/{generation_id}/cancel")).status_code == 200
    assert (await resolve(acts, generation_id, "settled")).status_code == 200
    assert await acts.actions(alice) == ["cancel", "resolve"]


async def test_one_that_goes_on_is_left_alone(
    acts: Acts, alice: Member, bench: Bench, worker_db: Database, owner: Any
) -> None:
    held, ticketed = await waiting(alice, bench), await waiting(alice, bench)
    for generation_id in (held, ticketed):
        assert (await acts.do(f"generations/{generation_id}/retry")).status_code == 202
    await owner.execute("TRUNCATE provider_circuits")
    assert await lease.claim(worker_db, lease.Holder("somebody", 60), held)
    assert await run(bench, Scripted("vendor", make=[Ticket("a-ticket", 60)]), ticketed) == "snoozed"
    for generation_id in (held, ticketed):
        for outcome in ("settled", "refunded"):
            problem(await resolve(acts, generation_id, outcome), 409, "generating")
        assert await money(owner, generation_id) == [("debit", -5)]
    assert await acts.actions(alice) == ["wake", "wake"]


async def test_who_has_looked_before_it_was_run_ends_nothing(
    acts: Acts, alice: Member, bench: Bench, db: Database, worker_db: Database, owner: Any
) -> None:
    generation_id = await waiting(alice, bench)
    seen = await owner.fetchval("SELECT fence FROM generations WHERE id = $1", generation_id)
    decision = Decision(acts.admin.user.id, WHY)
    await owner.execute("UPDATE generations SET wake_at = now() WHERE id = $1", generation_id)
    claim = await lease.claim(worker_db, lease.Holder("somebody", 60), generation_id)
    assert claim
    assert await lease.leave(worker_db, claim, seconds=60, counts=True)
    assert not await doubts.resolve(db, decision, generation_id, "refunded", fence=seen)
    assert await money(owner, generation_id) == [("debit", -5)]
    assert await doubts.resolve(db, decision, generation_id, "refunded", fence=claim.fence)
    assert await money(owner, generation_id) == [("debit", -5), ("refund", 5)]


@pytest.mark.parametrize("is_over", [True, False])
async def test_of_many_at_once_one_decides(
    acts: Acts, alice: Member, bench: Bench, owner: Any, *, is_over: bool
) -> None:
    generation_id = await (ended if is_over else waiting)(alice, bench)
    said = ("settled", "refunded") * 3 if is_over else ("refunded",) * 6
    answers = await asyncio.gather(*(resolve(acts, generation_id, outcome) for outcome in said))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 5]
    [line] = await acts.lines(alice)
    outcome = json.loads(line["details"])["outcome"]
    assert await steps(owner, generation_id) == [("in_doubt", outcome)]
    assert await money(owner, generation_id) == [("debit", -5), ("refund", 5)]


async def test_resolved_and_canceled_at_once_it_ends_once(acts: Acts, alice: Member, bench: Bench, owner: Any) -> None:
    generation_id = await waiting(alice, bench)
    resolved, canceled = await asyncio.gather(
        resolve(acts, generation_id, "refunded"), acts.do(f"generations/{generation_id}/cancel")
    )
    assert (resolved.status_code, canceled.status_code) in {(200, 409), (200, 200), (409, 200)}
    assert len(await acts.lines(alice)) == [resolved.status_code, canceled.status_code].count(200)
    assert await money(owner, generation_id) == [("debit", -5), ("refund", 5)]


async def test_where_there_is_no_doubt(acts: Acts, alice: Member, bench: Bench) -> None:
    fine, new = await order(alice), await order(alice)
    assert await run(bench, Scripted("vendor"), fine) == "succeeded"
    for generation_id in (fine, new):
        problem(await resolve(acts, generation_id, "refunded"), 409, "no_open_doubt")
        problem(await resolve(acts, generation_id, "settled"), 409, "no_open_doubt")
    problem(await resolve(acts, uuid4(), "settled"), 404, "not_found")
    assert await acts.lines(alice) == []


async def test_no_line_no_resolution(alice: Member, bench: Bench, db: Database, owner: Any) -> None:
    nobody = Decision(uuid4(), WHY)
    for generation_id in (await ended(alice, bench), await waiting(alice, bench)):
        fence = await owner.fetchval("SELECT fence FROM generations WHERE id = $1", generation_id)
        before = await money(owner, generation_id)
        with pytest.raises(sa.exc.IntegrityError):
            await doubts.resolve(db, nobody, generation_id, "refunded", fence=fence)
        assert await steps(owner, generation_id) == [("in_doubt", None)]
        assert await money(owner, generation_id) == before
