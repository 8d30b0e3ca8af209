"""Which provider an order goes to, and to which one next: only after the last word of the one before."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from tallyframe.db import Database
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Offer, Ticket
from tests.conftest import ClientFor
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.scripted import QUICKLY, Scripted, among, failing, final
from tests.support.shared import newcomer, shared_database
from tests.support.working import Bench

database_url = shared_database("test_fallback")

ABOUT_THE_ORDER = [FailureCode.CONTENT_POLICY, FailureCode.INVALID_INPUT]
STEPS = "SELECT attempt, provider, state, is_final FROM generation_steps WHERE generation_id = $1 ORDER BY attempt"


@pytest.fixture
async def alice(db: Database, client_for: ClientFor, owner: Any) -> AsyncIterator[Member]:
    """A new user; the books must balance when the test has ended."""
    yield await newcomer(db, client_for, owner)
    await assert_books_balance(db, owner)


async def run(bench: Bench, *vendors: Scripted, **parts: Any) -> list[str]:
    return await bench.drain(bench.runner(providers=among(*vendors), **{"retry": QUICKLY, **parts}))


async def steps(owner: Any, project: dict[str, Any]) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await owner.fetch(STEPS, UUID(project["generation"]["id"]))]


async def test_the_first_one_that_delivers_is_the_only_one_asked(alice: Member, bench: Bench) -> None:
    first, second = Scripted("a"), Scripted("b")
    await alice.order()
    assert await run(bench, first, second) == ["succeeded"]
    assert (first.orders, second.orders) == (1, 0)
    assert await alice.available() == 15


async def test_the_next_one_is_asked_after_a_last_word(alice: Member, bench: Bench, owner: Any) -> None:
    first, second = Scripted("a", make=[final()]), Scripted("b")
    project = await alice.order()
    assert await run(bench, first, second) == ["fell_back", "succeeded"]
    assert (first.orders, second.orders) == (1, 1)
    assert await steps(owner, project) == [(1, "a", "failed", True), (2, "b", "done", False)]
    assert await alice.available() == 15


async def test_the_receipt_names_the_one_that_delivered(alice: Member, bench: Bench) -> None:
    project = await alice.order()
    await run(bench, Scripted("a", make=[final()]), Scripted("b"))
    [receipt] = (await alice.http.get(f"/v1/projects/{project['id']}/generations")).json()["data"]
    assert (receipt["provider"], receipt["model"], receipt["attempt"]) == ("b", "b-1", 2)
    assert receipt["credits"] == {"quoted": 5, "charged": 5, "refunded": 0}
    assert (receipt["status"], receipt["error"], len(receipt["outputs"])) == ("succeeded", None, 1)


async def test_what_may_pass_is_tried_again_there_first_and_the_next_one_has_tries_of_its_own(
    alice: Member, bench: Bench
) -> None:
    first, second = Scripted("a", make=[failing()] * 9), Scripted("b", make=[failing()] * 2)
    await alice.order()
    outcomes = await run(bench, first, second, retry=replace(QUICKLY, max_retries=2))
    assert outcomes == ["retried", "retried", "fell_back", "retried", "retried", "succeeded"]
    assert (first.orders, second.orders) == (3, 3)
    assert {*first.bought.values(), *second.bought.values()} == {1}  # each try under a key of its own
    assert not set(first.bought) & set(second.bought)


async def test_when_all_have_said_no_it_fails_with_the_last_word_and_one_refund(alice: Member, bench: Bench) -> None:
    vendors = Scripted("a", make=[final()]), Scripted("b", make=[failing()] * 9), Scripted("c", make=[failing()] * 9)
    project = await alice.order()
    outcomes = await run(bench, *vendors, retry=replace(QUICKLY, max_retries=1))
    assert outcomes == ["fell_back", "retried", "fell_back", "retried", "failed"]
    assert [vendor.orders for vendor in vendors] == [1, 2, 2]
    assert (await alice.project(project["id"]))["error"]["code"] == "provider_unavailable"
    assert await alice.available() == 20


@pytest.mark.parametrize("code", ABOUT_THE_ORDER)
async def test_a_verdict_on_the_order_is_not_shopped_around(alice: Member, bench: Bench, code: FailureCode) -> None:
    first, second = Scripted("a", make=[final(code, message="Try something else.")]), Scripted("b")
    project = await alice.order()
    assert await run(bench, first, second) == ["failed"]
    assert (first.orders, second.orders) == (1, 0)
    error = (await alice.project(project["id"]))["error"]
    assert (error["code"], error["message"], error["fault"]) == (code, "Try something else.", "user")
    assert await alice.available() == 20


@pytest.mark.parametrize("code", ABOUT_THE_ORDER)
async def test_nor_is_one_that_comes_with_the_ticket(alice: Member, bench: Bench, code: FailureCode) -> None:
    first, second = Scripted("a", make=[Ticket("t", 0.01)], collect=[final(code)]), Scripted("b")
    await alice.order(kind="video")
    assert await run(bench, first, second) == ["snoozed", "failed"]
    assert second.orders == 0
    assert await alice.available() == 20


async def test_a_tickets_last_word_leads_to_the_next_one(alice: Member, bench: Bench, owner: Any) -> None:
    first, second = Scripted("a", make=[Ticket("t", 0.01)], collect=[final()]), Scripted("b", make=[Ticket("u", 0.01)])
    project = await alice.order(kind="video")
    assert await run(bench, first, second) == ["snoozed", "fell_back", "snoozed", "succeeded"]
    assert (first.orders, first.asked, second.orders, second.asked) == (1, ["t"], 1, ["u"])
    assert await steps(owner, project) == [(1, "a", "failed", True), (2, "b", "done", False)]
    assert (await alice.project(project["id"]))["generation"]["provider"] == "b"


@pytest.mark.parametrize(
    "failure", [failing(), failing(retry_after=0.02), final(FailureCode.INTERNAL, alarm=True)], ids=str
)
async def test_a_failed_question_is_no_last_word(alice: Member, bench: Bench, failure: ProviderError) -> None:
    first, second = Scripted("a", make=[Ticket("t", 0.01)], collect=[failure] * 4), Scripted("b")
    await alice.order(kind="video")
    outcomes = await run(bench, first, second, retry=replace(QUICKLY, max_retries=1))
    assert outcomes == ["snoozed"] * 5 + ["succeeded"]
    assert (first.orders, len(first.asked), second.orders) == (1, 5, 0)


async def test_who_asks_for_too_much_patience_is_given_up(alice: Member, bench: Bench) -> None:
    busy = failing(FailureCode.PROVIDER_QUOTA, retry_after=61)
    first, second = Scripted("a", make=[busy]), Scripted("b")
    await alice.order()
    assert await run(bench, first, second, retry=replace(QUICKLY, max_wait=60)) == ["fell_back", "succeeded"]
    assert first.orders == 1


async def test_what_an_operator_must_mend_falls_back_and_raises_the_alarm(alice: Member, bench: Bench) -> None:
    bad_key = final(FailureCode.INTERNAL, alarm=True, operator_message="API key not valid")
    first, second = Scripted("a", make=[bad_key]), Scripted("b")
    await alice.order("a secret cup")
    with capture_logs() as logs:
        assert await run(bench, first, second) == ["fell_back", "succeeded"]
    [alarm] = [line for line in logs if line["event"] == "provider_alarm"]
    assert (alarm["log_level"], alarm["provider"], alarm["model"]) == ("error", "a", "a-1")
    assert alarm["operator_message"] == "API key not valid"
    assert not any("secret cup" in str(line) for line in logs)


async def test_who_does_not_make_such_a_shape_is_left_out(alice: Member, bench: Bench) -> None:
    tall, all_shapes = Scripted("a", offer=Offer(("9:16",))), Scripted("b", make=[final(), final()])
    await alice.order(aspect_ratio="1:1")
    assert await run(bench, tall, all_shapes) == ["failed"]
    assert (tall.orders, all_shapes.orders) == (0, 1)
    await alice.order(aspect_ratio="9:16")
    assert await run(bench, tall, all_shapes) == ["succeeded"]
    assert (tall.orders, all_shapes.orders) == (1, 1)


async def test_who_does_not_make_such_a_length_is_left_out(alice: Member, bench: Bench) -> None:
    even, odd = Scripted("a", offer=Offer(("16:9",), (4, 6, 8))), Scripted("b", offer=Offer(("16:9",), (5,)))
    await alice.order(kind="video", aspect_ratio="16:9", duration_seconds=5)
    assert await run(bench, even, odd) == ["succeeded"]
    assert (even.orders, odd.orders) == (0, 1)


async def test_what_nobody_makes_any_more_fails_with_a_refund(alice: Member, bench: Bench) -> None:
    tall = Scripted("a", offer=Offer(("9:16",)))
    project = await alice.order(aspect_ratio="1:1")
    assert await run(bench, tall) == ["failed"]
    assert tall.orders == 0
    assert (await alice.project(project["id"]))["error"]["code"] == "invalid_input"
    assert await alice.available() == 20


async def test_what_cannot_be_stored_is_not_bought_elsewhere(
    alice: Member, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tallyframe.generations.steps.results.STORE_RETRIES", (0.0,))
    bench.settings.server.data_dir.mkdir(parents=True)
    (bench.settings.server.data_dir / "media").write_text("a file where the folder should be")
    first, second = Scripted("a"), Scripted("b")
    await alice.order()
    assert await run(bench, first, second) == ["failed"]
    assert (first.orders, second.orders) == (1, 0)
    assert await alice.available() == 20
