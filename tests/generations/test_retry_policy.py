"""How often and after how long what has failed is tried again."""

from typing import Any

import pytest

from tallyframe.errors import FailureCode, GenerationError, ProviderError
from tallyframe.generations.steps.decide import RetryPolicy, wanted_wait
from tests.support.cast import Member
from tests.support.scripted import Scripted, among, failing
from tests.support.working import Bench

POLICY = RetryPolicy(max_retries=3, max_wait=300, base=1.0, longest=60.0)
PASSING = GenerationError(FailureCode.STORAGE_UNAVAILABLE, retryable=True)
MOST_JITTER = 1.25


def busy(seconds: float | None) -> ProviderError:
    return ProviderError(FailureCode.PROVIDER_QUOTA, retryable=True, retry_after=seconds)


@pytest.mark.parametrize(("retries", "seconds"), [(0, 1), (1, 2), (2, 4), (5, 32), (6, 60), (7, 60), (1000, 60)])
def test_it_doubles_up_to_the_longest(retries: int, seconds: float) -> None:
    assert POLICY.delay(PASSING, retries) == seconds


async def test_what_failed_together_does_not_come_back_together(alice: Member, bench: Bench, owner: Any) -> None:
    """A run adds up to a quarter to the policy's delay."""
    for _ in range(4):
        await alice.order()
    patient = RetryPolicy(3, max_wait=300, base=1000, longest=1000)
    runner = bench.runner(providers=among(Scripted("a", make=[failing()] * 4)), retry=patient)
    for generation_id in await bench.due():
        assert await runner.run(generation_id) == "retried"
    waits = await owner.fetch("SELECT extract(epoch FROM wake_at - now())::float AS wait FROM generations")
    assert all(990 < row["wait"] <= 1000 * MOST_JITTER for row in waits)
    assert len({round(row["wait"]) for row in waits}) > 1


@pytest.mark.parametrize(("asked", "retries", "least"), [(30, 0, 30), (30, 6, 60), (0.5, 0, 1), (299, 0, 299)])
def test_what_the_vendor_asks_for_is_the_least(asked: float, retries: int, least: float) -> None:
    assert POLICY.delay(busy(asked), retries) == least


@pytest.mark.parametrize(("retries", "gives_up"), [(0, False), (2, False), (3, True), (4, True)])
def test_it_gives_up_after_its_retries(retries: int, *, gives_up: bool) -> None:
    assert POLICY.gives_up(PASSING, retries) is gives_up


def test_what_will_not_pass_is_given_up_at_once() -> None:
    assert POLICY.gives_up(GenerationError(FailureCode.CONTENT_POLICY), 0)
    assert POLICY.gives_up(ProviderError(FailureCode.PROVIDER_QUOTA, retry_after=1), 0)


def test_without_retries_everything_is_given_up_at_once() -> None:
    assert RetryPolicy(max_retries=0, max_wait=300).gives_up(PASSING, 0)


@pytest.mark.parametrize(("asked", "gives_up"), [(299.9, False), (300, False), (300.1, True), (86_400, True)])
def test_who_asks_for_more_than_the_longest_wait_is_given_up(asked: float, *, gives_up: bool) -> None:
    assert POLICY.gives_up(busy(asked), 0) is gives_up


def test_what_is_asked_for() -> None:
    assert wanted_wait(busy(7.5)) == 7.5
    assert wanted_wait(busy(None)) == 0
    assert wanted_wait(busy(0)) == 0
    assert wanted_wait(PASSING) == 0
