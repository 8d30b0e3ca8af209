"""What a step does about an answer, and what a run does about its steps: each row of `decide` and of `combine`."""

from itertools import product
from typing import Any

import pytest

from tallyframe.errors import FailureCode, GenerationError, ProviderError
from tallyframe.generations.steps.decide import IN_DOUBT, MOST_BAD_RESULTS, RetryPolicy, combine, decide, is_terminal
from tallyframe.generations.steps.values import (
    Asked,
    Decision,
    Done,
    End,
    Fail,
    InDoubt,
    Kept,
    Leave,
    NextProvider,
    NotStored,
    Retry,
    Route,
    Snooze,
    Verdict,
    Waiting,
)
from tests.support.scripted import EVERYTHING, Scripted, failing, final

POLICY = RetryPolicy(max_retries=3, max_wait=300, collect_again=5.0)
REJECTED, QUOTA = FailureCode.PROVIDER_REJECTED, FailureCode.PROVIDER_QUOTA
AWAY = GenerationError(FailureCode.STORAGE_UNAVAILABLE, retryable=True)
NO_ROOM = GenerationError(FailureCode.STORAGE_UNAVAILABLE)


def asked(*, repeatable: bool = False, has_others: bool = False, **more: Any) -> Asked:
    return Asked("a", 2, Route(Scripted("one", repeatable=repeatable), EVERYTHING), has_others, **more)


def kept(decision: Decision) -> Verdict:
    """What the decision keeps with the try that was asked about."""
    verdict = getattr(decision, "verdict", None)
    assert isinstance(verdict, Verdict), decision
    assert (verdict.name, verdict.attempt, verdict.provider) == ("a", 2, "one")
    return verdict


COLLECTING, ORDERING = asked(is_collect=True), asked()
#: asked, answer → the decision, its seconds (if it has any), the state that is kept, and whether that is final
ROWS: dict[str, tuple[Asked, Any, type, float | None, str | None, bool | None]] = {
    "a ticket": (ORDERING, Waiting("t", 7.0), Snooze, 7.0, "ticket", None),
    "still at work": (COLLECTING, Waiting("t", 7.0), Snooze, 7.0, "ticket", None),
    "collected, and not stored": (COLLECTING, NotStored(AWAY), Snooze, 5.0, None, None),
    "made at once, and not stored": (ORDERING, NotStored(AWAY), Fail, None, "failed", True),
    "collected, and never to be stored": (COLLECTING, NotStored(NO_ROOM), Fail, None, "failed", True),
    "asking has failed": (COLLECTING, failing(), Snooze, 5.0, None, None),
    "asking has failed, and patience is asked for": (COLLECTING, failing(retry_after=42), Snooze, 42, None, None),
    "our key is bad while it is at work": (COLLECTING, final(alarm=True), Snooze, 5.0, None, None),
    "its storage is away while it is collected": (COLLECTING, AWAY, Snooze, 5.0, None, None),
    "a bad result": (asked(is_collect=True, bad_results=4), failing(REJECTED), Snooze, 5.0, None, None),
    "the last bad result": (
        asked(is_collect=True, bad_results=MOST_BAD_RESULTS),
        failing(REJECTED),
        InDoubt,
        None,
        "in_doubt",
        True,
    ),
    "it may pass": (ORDERING, failing(), Retry, 1.0, "failed", False),
    "it may pass, the third time": (asked(retries=2), failing(), Retry, 4.0, "failed", False),
    "it may pass, once too often": (asked(retries=3), failing(), Fail, None, "failed", True),
    "the same, with others": (asked(retries=3, has_others=True), failing(), NextProvider, None, "failed", True),
    "patience": (ORDERING, failing(QUOTA, retry_after=60), Retry, 60.0, "failed", False),
    "too much patience": (ORDERING, failing(QUOTA, retry_after=301), Fail, None, "failed", True),
    "an answer without use": (asked(retries=1), failing(REJECTED), Retry, 2.0, "failed", False),
    "a second one too many": (asked(retries=2), failing(REJECTED), Fail, None, "failed", True),
    "a last word": (ORDERING, final(), Fail, None, "failed", True),
    "a last word, with others": (asked(has_others=True), final(), NextProvider, None, "failed", True),
    "a verdict on the order": (
        asked(has_others=True),
        final(FailureCode.CONTENT_POLICY),
        Fail,
        None,
        "failed",
        True,
    ),
    "a ticket's last word": (asked(is_collect=True, has_others=True), final(), NextProvider, None, "failed", True),
    "a picture that can't be read": (ORDERING, AWAY, Retry, 1.0, "failed", False),
    "a picture that can't be read, once too often": (
        asked(retries=3, has_others=True),
        AWAY,
        Fail,
        None,
        "failed",
        True,
    ),
    "a doubt": (asked(has_others=True), failing(in_doubt=True), InDoubt, None, "in_doubt", True),
    "a doubt where it may be repeated": (
        asked(repeatable=True),
        final(in_doubt=True),
        Retry,
        1.0,
        "in_doubt",
        False,
    ),
    "once too often": (asked(repeatable=True, retries=3), final(in_doubt=True), InDoubt, None, "in_doubt", True),
    "work that can't be had": (
        asked(repeatable=True, has_others=True),
        final(spent=True),
        InDoubt,
        None,
        "in_doubt",
        True,
    ),
}


@pytest.mark.parametrize("row", ROWS.values(), ids=ROWS)
def test_each_answer(row: tuple[Asked, Any, type, float | None, str | None, bool | None]) -> None:
    about, answer, kind, seconds, state, is_final = row
    decision = decide(about, answer, POLICY)
    assert type(decision) is kind
    assert getattr(decision, "seconds", None) == seconds
    verdict = kept(decision)
    assert (verdict.state, verdict.is_final) == (state, bool(is_final))
    assert (verdict.error_code is None) == (is_final is None)
    assert verdict.error_code in {None, getattr(getattr(answer, "error", answer), "code", None)}


def test_a_result_is_done() -> None:
    assert decide(ORDERING, Kept({"data": {}}), POLICY) == Done({"data": {}})


def test_no_vendor_makes_a_ticket_wait_for_longer_than_is_waited_for_an_order() -> None:
    busy = ProviderError(QUOTA, retryable=True, retry_after=86_400)
    decision = decide(COLLECTING, busy, POLICY)
    assert isinstance(decision, Snooze)
    assert decision.seconds == POLICY.max_wait


def test_a_ticket_is_kept_with_its_time() -> None:
    decision = decide(ORDERING, Waiting("t", 7.0), POLICY)
    assert kept(decision).ticket == "t"
    assert isinstance(decision, Snooze)
    assert decision.verdict
    assert decision.verdict.poll_after == 7.0


def test_who_is_to_wait_rests_for_as_long() -> None:
    """Or else another step that is due earlier would wake it, and use up its tries in no time."""
    for answer in (failing(QUOTA, retry_after=60), failing(), final(in_doubt=True)):
        decision = decide(asked(repeatable=True), answer, POLICY)
        assert isinstance(decision, Retry)
        assert decision.verdict.poll_after == decision.seconds


def test_of_a_doubt_the_user_reads_that_it_is_one() -> None:
    decision = decide(ORDERING, failing(in_doubt=True), POLICY)
    assert isinstance(decision, InDoubt)
    assert decision.error.message == IN_DOUBT


FLAGS = (True, False)
ALL = list(product(FailureCode, FLAGS, FLAGS, FLAGS, FLAGS, FLAGS, FLAGS, FLAGS, (0, 2, 3), (0, MOST_BAD_RESULTS)))


def test_whatever_is_answered_nothing_is_bought_twice_and_everything_ends() -> None:
    for code, retryable, in_doubt, spent, alarm, collects, others, repeatable, retries, bad in ALL:
        error = ProviderError(code, retryable=retryable, in_doubt=in_doubt, spent=spent, alarm=alarm)
        about = asked(is_collect=collects, has_others=others, repeatable=repeatable, retries=retries, bad_results=bad)
        decision = decide(about, error, POLICY)
        case = (about, vars(error), decision)
        said = kept(decision)
        may_be_bought = in_doubt or spent
        match decision:
            case Snooze():
                assert collects, case
                assert (said.state, said.ticket, said.error_code) == (None, None, None), case  # it stays as it is
            case Retry(seconds, verdict):
                assert said.is_final is False, case
                assert retries < POLICY.max_retries, case
                assert seconds > 0, case
                assert verdict.poll_after == seconds, case
                assert not may_be_bought or (repeatable and in_doubt), case
            case NextProvider():
                assert others, case
                assert said.is_final is True, case
                assert not may_be_bought, case
                assert not is_terminal(code), case
            case Fail() | InDoubt():
                assert said.is_final is True, case
                assert decision.error.code is code, case
                assert isinstance(decision, InDoubt) == (said.state == "in_doubt"), case
            case _:
                raise AssertionError(case)


V = [Verdict("a", 1, "one", "m"), Verdict("b", 1, "one", "m")]
ENDS = (Fail(final()), Fail(final(), V[0]), InDoubt(GenerationError(FailureCode.PROVIDER_TIMEOUT), V[0]))
WAITS: dict[str, tuple[list[Decision], Leave]] = {
    "one waits": ([Snooze(3.0)], Leave(3.0, "snoozed")),
    "the first to be due wakes it": ([Snooze(3.0), Snooze(0.5), Snooze(9.0)], Leave(0.5, "snoozed")),
    "one is tried again": ([Retry(2.0, V[0])], Leave(2.0, "retried")),
    "one is tried again, another one is due first": ([Retry(30.0, V[0]), Snooze(1.0)], Leave(1.0, "retried")),
    "one is due later": ([Retry(2.0, V[0]), Snooze(60.0)], Leave(2.0, "retried")),
    "one goes elsewhere, at once": ([NextProvider(V[0]), Snooze(60.0), Retry(5.0, V[1])], Leave(0.0, "fell_back")),
}


@pytest.mark.parametrize("row", WAITS.values(), ids=WAITS)
def test_what_a_run_does_that_waits(row: tuple[list[Decision], Leave]) -> None:
    decisions, expected = row
    undone = [(10.0, each) for each in decisions]
    assert combine(undone, 10.0, ()) == expected
    left = combine(list(reversed(undone)), 10.0, V)
    assert isinstance(left, Leave)
    assert (left.seconds, left.outcome, left.verdicts) == (expected.seconds, expected.outcome, V)


def test_what_has_been_waited_for_is_not_waited_for_again() -> None:
    assert combine([(10.0, Snooze(5.0)), (12.0, Retry(4.0, V[0]))], 13.0, ()) == Leave(2.0, "retried")
    assert combine([(10.0, Snooze(2.0))], 13.0, ()) == Leave(0.0, "snoozed")


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("others", [row[0] for row in WAITS.values()] + [[]])
def test_a_run_ends_when_one_of_its_steps_does(end: Fail | InDoubt, others: list[Decision]) -> None:
    for decisions in ([end, *others], [*others, end]):
        ended = combine([(10.0, each) for each in decisions], 10.0, V)
        assert isinstance(ended, End)
        assert (ended.error, ended.verdicts) == (end.error, V)
