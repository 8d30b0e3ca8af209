"""What is in doubt, cut short or taken out of the settings while an order is on its way from provider to provider."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import Database
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.generations.end.withdraw import withdraw
from tallyframe.generations.run.runner import Runner
from tallyframe.providers.base import Media, Ticket
from tests.conftest import ClientFor
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.scripted import PNG, QUICKLY, Scripted, among, failing, final
from tests.support.shared import newcomer, shared_database
from tests.support.working import Bench

database_url = shared_database("test_fallback_interrupted")

STEPS = "SELECT attempt, provider, state, is_final FROM generation_steps WHERE generation_id = $1 ORDER BY attempt"
LOSE_LEASE = "UPDATE generations SET lease_until = now() - interval '1 s', fence = fence + 1 WHERE id = $1"
#: The database goes away just as a run is about to say how it ended.
NO_END = """
    CREATE FUNCTION no_end() RETURNS trigger LANGUAGE plpgsql AS
        $$ BEGIN RAISE EXCEPTION 'gone' USING ERRCODE = 'query_canceled'; END $$;
    CREATE TRIGGER no_end BEFORE UPDATE ON generations FOR EACH ROW
        WHEN (OLD.lease_until IS NOT NULL AND NEW.lease_until IS NULL) EXECUTE FUNCTION no_end()"""


@pytest.fixture
async def alice(db: Database, client_for: ClientFor, owner: Any) -> AsyncIterator[Member]:
    """A new user; the books must balance when the test has ended."""
    yield await newcomer(db, client_for, owner)
    await assert_books_balance(db, owner)


def runner_of(bench: Bench, *vendors: Scripted, **retry: Any) -> Runner:
    return bench.runner(providers=among(*vendors), retry=replace(QUICKLY, **retry))


async def cut_short(owner: Any, runner: Runner, generation_id: UUID) -> str:
    """Run it; the database is away between the vendor's word and what follows from it, and comes back. Its outcome."""
    await owner.execute(NO_END)
    try:
        running = asyncio.create_task(runner.run(generation_id))
        await asyncio.wait({running}, timeout=1)
        assert not running.done()
    finally:
        await owner.execute("DROP FUNCTION no_end() CASCADE")
    return await running


async def steps(owner: Any, generation_id: UUID) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await owner.fetch(STEPS, generation_id)]


@pytest.mark.parametrize("code", [FailureCode.PROVIDER_TIMEOUT, FailureCode.PROVIDER_UNAVAILABLE])
async def test_what_is_in_doubt_is_refunded_once_and_ordered_nowhere_else(
    alice: Member, bench: Bench, owner: Any, code: FailureCode
) -> None:
    first, second = Scripted("a", make=[final(code, in_doubt=True)]), Scripted("b")
    project = await alice.order()
    [generation_id] = await bench.due()
    assert await bench.drain(runner_of(bench, first, second)) == ["failed"]
    assert (first.orders, second.orders) == (1, 0)
    assert await steps(owner, generation_id) == [(1, "a", "in_doubt", True)]
    error = (await alice.project(project["id"]))["error"]
    assert (error["code"], "lost track" in error["message"]) == (code, True)
    assert await alice.available() == 20
    assert [entry["kind"] for entry in await alice.entries()] == ["refund", "debit", "grant"]


async def test_a_doubt_counts_more_than_that_it_may_pass(alice: Member, bench: Bench) -> None:
    first, second = Scripted("a", make=[failing(in_doubt=True)]), Scripted("b")
    await alice.order()
    assert await bench.drain(runner_of(bench, first, second)) == ["failed"]
    assert (first.orders, second.orders) == (1, 0)


async def test_what_is_in_doubt_is_repeated_at_its_own_provider_where_that_is_allowed(
    alice: Member, bench: Bench, owner: Any
) -> None:
    doubt = final(FailureCode.PROVIDER_TIMEOUT, in_doubt=True)
    first, second = Scripted("a", make=[doubt] * 2, repeatable=True), Scripted("b")
    await alice.order()
    [generation_id] = await bench.due()
    assert await bench.drain(runner_of(bench, first, second)) == ["retried", "retried", "succeeded"]
    assert (first.orders, second.orders) == (3, 0)
    assert [state for _, _, state, _ in await steps(owner, generation_id)] == ["in_doubt", "in_doubt", "done"]
    assert await alice.available() == 15


async def test_doubts_end_too_and_lead_nowhere_else(alice: Member, bench: Bench) -> None:
    doubt = final(FailureCode.PROVIDER_TIMEOUT, in_doubt=True)
    first, second = Scripted("a", make=[doubt] * 9, repeatable=True), Scripted("b")
    await alice.order()
    assert await bench.drain(runner_of(bench, first, second, max_retries=1)) == ["retried", "failed"]
    assert (first.orders, second.orders) == (2, 0)
    assert await alice.available() == 20


@pytest.mark.parametrize(("repeatable", "orders", "credits_left"), [(False, 1, 20), (True, 2, 15)])
async def test_a_worker_lost_during_the_call_does_not_lead_elsewhere(
    alice: Member, bench: Bench, owner: Any, *, repeatable: bool, orders: int, credits_left: int
) -> None:
    async def die() -> Media:
        await owner.execute(LOSE_LEASE, generation_id)
        return PNG

    first, second = Scripted("a", make=[die], repeatable=repeatable), Scripted("b")
    await alice.order()
    [generation_id] = await bench.due()
    runner = runner_of(bench, first, second)
    assert await runner.run(generation_id) == "claim_lost"
    assert await runner.run(generation_id) == ("succeeded" if repeatable else "failed")
    assert (first.orders, second.orders, await alice.available()) == (orders, 0, credits_left)
    assert (await steps(owner, generation_id))[0] == (1, "a", "in_doubt", not repeatable)


@pytest.mark.parametrize(
    "verdict",
    [
        final(FailureCode.CONTENT_POLICY),
        final(FailureCode.INVALID_INPUT),
        final(FailureCode.PROVIDER_TIMEOUT, in_doubt=True),
    ],
    ids=str,
)
async def test_a_verdict_stays_the_verdict_when_settling_it_is_cut_short(
    alice: Member, bench: Bench, owner: Any, verdict: ProviderError
) -> None:
    first, second = Scripted("a", make=[verdict]), Scripted("b")
    project = await alice.order()
    [generation_id] = await bench.due()
    runner = runner_of(bench, first, second)
    assert await cut_short(owner, runner, generation_id) == "failed"
    assert (first.orders, second.orders) == (1, 0)
    assert (await alice.project(project["id"]))["error"]["code"] == verdict.code
    assert await alice.available() == 20


async def test_the_last_words_of_all_stay_said_when_settling_is_cut_short(
    alice: Member, bench: Bench, owner: Any
) -> None:
    first, second = Scripted("a", make=[final()]), Scripted("b", make=[final(FailureCode.PROVIDER_QUOTA)])
    project = await alice.order()
    [generation_id] = await bench.due()
    runner = runner_of(bench, first, second)
    assert await runner.run(generation_id) == "fell_back"
    assert await cut_short(owner, runner, generation_id) == "failed"
    assert (first.orders, second.orders) == (1, 1)
    assert (await alice.project(project["id"]))["error"]["code"] == "provider_quota"


async def test_a_last_word_still_leads_to_the_next_one_when_that_was_cut_short(
    alice: Member, bench: Bench, owner: Any
) -> None:
    first, second = Scripted("a", make=[final()]), Scripted("b")
    await alice.order()
    [generation_id] = await bench.due()
    runner = runner_of(bench, first, second)
    assert await cut_short(owner, runner, generation_id) == "fell_back"
    assert await runner.run(generation_id) == "succeeded"
    assert (first.orders, second.orders) == (1, 1)


async def test_the_next_one_has_tries_of_its_own_even_when_leading_there_was_cut_short(
    alice: Member, bench: Bench, owner: Any
) -> None:
    first, second = Scripted("a", make=[failing()] * 9), Scripted("b", make=[failing()])
    await alice.order()
    [generation_id] = await bench.due()
    runner = runner_of(bench, first, second, max_retries=1, base=0.0)
    assert await runner.run(generation_id) == "retried"
    assert await cut_short(owner, runner, generation_id) == "fell_back"
    assert await bench.drain(runner) == ["retried", "succeeded"]
    assert (first.orders, second.orders) == (2, 2)


async def test_a_tickets_verdict_stays_the_verdict_when_settling_it_is_cut_short(
    alice: Member, bench: Bench, owner: Any
) -> None:
    refused = final(FailureCode.CONTENT_POLICY)
    first, second = Scripted("a", make=[Ticket("t", 0.0)], collect=[refused]), Scripted("b")
    await alice.order(kind="video")
    [generation_id] = await bench.due()
    runner = runner_of(bench, first, second)
    assert await runner.run(generation_id) == "snoozed"
    assert await cut_short(owner, runner, generation_id) == "failed"
    assert (first.orders, first.asked, second.orders) == (1, ["t"], 0)


async def test_what_could_not_be_stored_is_bought_nowhere_else_when_settling_is_cut_short(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallyframe.generations.steps.results.STORE_RETRIES", ())
    bench.settings.server.data_dir.mkdir(parents=True)
    (bench.settings.server.data_dir / "media").write_text("a file where the folder should be")
    first, second = Scripted("a"), Scripted("b")
    project = await alice.order()
    [generation_id] = await bench.due()
    runner = runner_of(bench, first, second)
    assert await cut_short(owner, runner, generation_id) == "failed"
    assert (first.orders, second.orders) == (1, 0)
    assert (await alice.project(project["id"]))["error"]["code"] == "storage_unavailable"


async def test_a_provider_taken_out_while_it_holds_a_ticket(alice: Member, bench: Bench, owner: Any) -> None:
    first, second = Scripted("a", make=[Ticket("t", 0.0)]), Scripted("b")
    project = await alice.order(kind="video")
    [generation_id] = await bench.due()
    assert await runner_of(bench, first, second).run(generation_id) == "snoozed"
    without = runner_of(bench, second)
    assert await without.run(generation_id) == "failed"
    assert second.orders == 0
    assert (await alice.project(project["id"]))["error"]["code"] == "provider_unavailable"
    assert await alice.available() == 20
    assert await withdraw(without.dependencies, generation_id) == "again"  # another worker may know the vendor
    await owner.execute("UPDATE generations SET finished_at = finished_at - interval '1 hour'")
    assert await withdraw(without.dependencies, generation_id) == "withdrawn"
    assert await steps(owner, generation_id) == [(1, "a", "withdrawn", False)]


async def test_a_provider_taken_out_while_it_was_being_asked(alice: Member, bench: Bench, owner: Any) -> None:
    async def die() -> Media:
        await owner.execute(LOSE_LEASE, generation_id)
        return PNG

    first, second = Scripted("a", make=[die]), Scripted("b")
    await alice.order()
    [generation_id] = await bench.due()
    assert await runner_of(bench, first, second).run(generation_id) == "claim_lost"
    assert await runner_of(bench, second).run(generation_id) == "failed"
    assert (second.orders, await alice.available()) == (0, 20)
    assert await steps(owner, generation_id) == [(1, "a", "in_doubt", True)]  # it may have cost something
