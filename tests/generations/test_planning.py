"""What a step asks for next, from its tries alone: each row of `plan`, and what holds in all of them."""

from itertools import product
from typing import Any

import pytest

from tallyframe.errors import FailureCode
from tallyframe.generations.steps.decide import plan
from tallyframe.generations.steps.values import Collect, Done, Fail, InDoubt, Order, Route, Snooze, Try
from tests.support.scripted import EVERYTHING, Scripted

RESULT = {"data": {"a": 1}}
STATES = ("intent", "ticket", "done", "failed", "in_doubt", "orphaned", "withdrawn")
REFUSED, BROKEN, GONE = FailureCode.CONTENT_POLICY, FailureCode.PROVIDER_REJECTED, FailureCode.STORAGE_UNAVAILABLE


def routes(*names: str, repeatable: bool = False, misfits: tuple[str, ...] = ()) -> list[Route]:
    return [Route(Scripted(name, repeatable=repeatable), EVERYTHING, name not in misfits) for name in names]


def a_try(state: str, provider: str = "one", attempt: int = 1, **more: Any) -> Try:
    given: dict[str, Any] = {"ticket": "a-ticket"} if state == "ticket" else {}
    given |= {"result": RESULT} if state in {"done", "orphaned"} else {}
    return Try(attempt, state, provider, **{**given, **more})


def asked_of(planned: object) -> list[str]:
    assert isinstance(planned, Order), planned
    return [route.provider.name for route in planned.routes]


BOTH = routes("one", "two")


def test_the_first_try_goes_to_all_who_can_do_it_in_the_order_of_the_settings() -> None:
    assert asked_of(plan("a", [], BOTH)) == ["one", "two"]
    assert asked_of(plan("a", [], routes("one", "two", misfits=("one",)))) == ["two"]


@pytest.mark.parametrize("misfits", [("one", "two"), ()])
def test_what_nobody_can_do_fails(misfits: tuple[str, ...]) -> None:
    planned = plan("a", [], routes("one", "two", misfits=misfits) if misfits else [])
    assert isinstance(planned, Fail)
    assert planned.error.code is FailureCode.INVALID_INPUT
    assert planned.verdict is None


@pytest.mark.parametrize("state", ["done", "orphaned"])
def test_what_is_there_is_not_asked_for_again(state: str) -> None:
    assert plan("a", [a_try("failed"), a_try(state, attempt=2)], BOTH) == Done(RESULT)


def test_a_ticket_rests_until_its_time() -> None:
    assert plan("a", [a_try("ticket", rests=0.1)], BOTH) == Snooze(0.1)
    assert isinstance(plan("a", [a_try("ticket", rests=0.0)], BOTH), Collect)


@pytest.mark.parametrize("rests", [0.0, -3.0])
def test_a_ticket_that_is_due_is_collected_where_it_came_from(rests: float) -> None:
    planned = plan("a", [a_try("ticket", "two", rests=rests)], BOTH)
    assert isinstance(planned, Collect)
    assert (planned.route.provider.name, planned.latest.ticket) == ("two", "a-ticket")
    assert [other.provider.name for other in planned.others] == ["one"]


def test_a_ticket_is_collected_although_its_provider_offers_this_no_more() -> None:
    planned = plan("a", [a_try("ticket")], routes("one", "two", misfits=("one",)))
    assert isinstance(planned, Collect)
    assert planned.route.provider.name == "one"


def test_a_ticket_of_a_provider_that_is_gone_fails_and_is_bought_nowhere_else() -> None:
    planned = plan("a", [a_try("ticket", "gone")], BOTH)
    assert isinstance(planned, Fail)
    assert planned.error.code is FailureCode.PROVIDER_UNAVAILABLE


def test_an_order_that_a_crash_has_hidden_is_repeated_where_that_is_allowed() -> None:
    hidden = a_try("intent")
    planned = plan("a", [hidden], routes("one", "two", repeatable=True))
    assert isinstance(planned, Order)
    assert planned.doubtful == hidden


@pytest.mark.parametrize("provider", ["one", "gone"])
def test_and_else_it_is_in_doubt(provider: str) -> None:
    planned = plan("a", [a_try("intent", provider, attempt=3)], BOTH)
    assert isinstance(planned, InDoubt)
    assert (planned.verdict.attempt, planned.verdict.state) == (3, "in_doubt")
    assert planned.verdict.is_final is True


@pytest.mark.parametrize("code", [*FailureCode])
def test_a_doubt_that_was_final_stays_final(code: FailureCode) -> None:
    planned = plan("a", [a_try("in_doubt", is_final=True, error_code=code.value)], BOTH)
    assert isinstance(planned, Fail)
    assert (planned.error.code, planned.verdict) == (code, None)


@pytest.mark.parametrize("code", [*FailureCode])
def test_a_last_word_leads_to_the_others_unless_it_ends_it(code: FailureCode) -> None:
    said = [a_try("failed", is_final=True, error_code=code.value)]
    planned = plan("a", said, BOTH)
    ends = {REFUSED, FailureCode.INVALID_INPUT, FailureCode.CANCELED, GONE}
    if code in ends:
        assert isinstance(planned, Fail)
        assert planned.error.code is code
    else:
        assert asked_of(planned) == ["two"]


def test_when_all_have_had_their_last_word_the_latest_counts() -> None:
    first = a_try("failed", "one", is_final=True, error_code=BROKEN.value)
    second = a_try("failed", "two", 2, is_final=True, error_code=FailureCode.PROVIDER_QUOTA.value)
    planned = plan("a", [first, second], BOTH)
    assert isinstance(planned, Fail)
    assert planned.error.code is FailureCode.PROVIDER_QUOTA


@pytest.mark.parametrize("state", ["failed", "in_doubt"])
def test_what_may_be_tried_again_is_once_it_has_rested(state: str) -> None:
    said: dict[str, Any] = {"error_code": BROKEN.value, "is_final": False}
    assert asked_of(plan("a", [a_try(state, **said)], BOTH)) == ["one", "two"]
    assert plan("a", [a_try(state, rests=7.5, **said)], BOTH) == Snooze(7.5)


def test_a_last_word_makes_nobody_rest() -> None:
    assert asked_of(plan("a", [a_try("failed", rests=60.0, is_final=True, error_code=BROKEN.value)], BOTH)) == ["two"]


EVERYTHING_AT_ONCE = list(
    product(STATES, ("one", "two", "gone"), (True, False), (0.0, 5.0), (None, BROKEN.value, REFUSED.value), (1, 2))
)


@pytest.mark.parametrize("repeatable", [True, False])
def test_whatever_the_tries_are_nothing_is_bought_that_may_have_been_bought(*, repeatable: bool) -> None:
    for state, provider, is_final, rests, code, attempt in EVERYTHING_AT_ONCE:
        latest = a_try(state, provider, attempt, is_final=is_final, rests=rests, error_code=code)
        before = [a_try("failed", "one", 1, is_final=True, error_code=BROKEN.value)] if attempt == 2 else []
        planned = plan("a", [*before, latest], routes("one", "two", repeatable=repeatable))
        spoken = {each.provider for each in (*before, latest) if each.is_final}
        case = (state, provider, is_final, rests, code, attempt, planned)
        if isinstance(planned, Order):
            assert state not in {"ticket", "done", "orphaned"}, case
            assert state != "intent" or (repeatable and provider != "gone"), case
            assert state != "in_doubt" or not (is_final and code), case
            assert not spoken & set(asked_of(planned)), case
            assert planned.routes, case
        if isinstance(planned, Collect):
            assert (state, planned.route.provider.name) == ("ticket", provider), case
            assert not (spoken | {provider}) & {other.provider.name for other in planned.others}, case
        if isinstance(planned, Snooze):
            assert (planned.seconds, planned.verdict) == (rests, None), case
            assert rests > 0, case
