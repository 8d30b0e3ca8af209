"""GET /v1/admin/stats: which generations are counted, and what can't be asked."""

from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tallyframe.api.admin.stats import DEFAULT_DAYS, MOST_DAYS
from tallyframe.db import Database
from tallyframe.reports.span import APART
from tests.conftest import ClientFor
from tests.support.cast import Member
from tests.support.past import Past
from tests.support.postings import Postings
from tests.support.remains import problem
from tests.support.shared import newcomer, shared_database

database_url = shared_database("test_admin_stats_span")

PATH = "/v1/admin/stats"
NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)
INSTANT = timedelta(microseconds=1)


@pytest.fixture
async def admin(db: Database, client_for: ClientFor, owner: Any) -> Member:
    return await newcomer(db, client_for, owner, admin=True)


@pytest.fixture
async def past(admin: Member, owner: Any) -> Past:
    postings = Postings(owner, admin.user.account_id, admin.user.id)
    await postings.post("grant", 10_000)
    return Past(postings)


async def accepted(member: Member, **query: str) -> int:
    answer = await member.http.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    number: int = answer.json()["total"]["accepted"]
    return number


def between(since: datetime, until: datetime) -> dict[str, str]:
    return {"from": since.isoformat(), "to": until.isoformat()}


async def test_a_span_begins_with_its_first_instant_and_ends_before_its_last(admin: Member, past: Past) -> None:
    end = NOON + timedelta(hours=1)
    for moment in (NOON - INSTANT, NOON, end - INSTANT, end):
        await past.was(moment)
    assert await accepted(admin, **between(NOON, end)) == 2
    assert await accepted(admin, **between(NOON, end + INSTANT)) == 3
    assert await accepted(admin, **between(NOON - INSTANT, end)) == 3
    assert await accepted(admin, **between(NOON, NOON + INSTANT)) == 1
    assert await accepted(admin, **between(NOON + INSTANT, end - INSTANT)) == 0


async def test_it_is_when_it_was_accepted_that_counts(admin: Member, past: Past) -> None:
    day = datetime(2026, 4, 1, tzinfo=UTC)
    await past.was(day - INSTANT, took=3600)
    assert await accepted(admin, **between(day, day + timedelta(days=1))) == 0
    assert await accepted(admin, **between(day - INSTANT, day)) == 1


@pytest.mark.parametrize("apart", [APART - INSTANT, INSTANT - APART])
async def test_the_clocks_of_api_and_database_may_differ(admin: Member, past: Past, apart: timedelta) -> None:
    month = 3 if apart > timedelta() else 4
    for moment in (datetime(2025, month, 1, tzinfo=UTC), datetime(2025, month, 2, tzinfo=UTC) - INSTANT):
        failed = await past.was(moment, "failed", made=moment + apart)
        answer = await admin.http.get(PATH, params=between(moment, moment + INSTANT))
        body = answer.json()
        assert [each["generation_id"] for each in body["recent_failures"]] == [str(failed)]
        assert [body["total"][name] for name in ("accepted", "charged", "refund_rate")] == [1, 5, 1.0]


async def test_without_a_time_it_shows_the_last_days(admin: Member, past: Past) -> None:
    answer = await admin.http.get(PATH)
    body = answer.json()
    since, until = (datetime.fromisoformat(body[name]) for name in ("from", "to"))
    assert until - since == timedelta(days=DEFAULT_DAYS)
    assert abs((until - datetime.now(UTC)).total_seconds()) < 60
    before = await accepted(admin)
    await past.was(until - timedelta(days=DEFAULT_DAYS, minutes=1))
    await past.was(until - timedelta(days=DEFAULT_DAYS, minutes=-10))
    assert await accepted(admin) == before + 1
    only_to = {"to": (until - timedelta(minutes=5)).isoformat()}
    assert await accepted(admin, **only_to) == before + 2
    only_from = {"from": (until - timedelta(days=8)).isoformat()}
    assert await accepted(admin, **only_from) == before + 2


async def test_a_span_without_generations(admin: Member) -> None:
    answer = await admin.http.get(
        PATH, params=between(datetime(2001, 1, 1, tzinfo=UTC), datetime(2001, 1, 2, tzinfo=UTC))
    )
    body = answer.json()
    assert (body["from"], body["to"]) == ("2001-01-01T00:00:00Z", "2001-01-02T00:00:00Z")
    numbers = ("accepted", "pending", "processing", "succeeded", "failed", "canceled", "charged", "refunded", "kept")
    rates = {"success_rate": None, "refund_rate": None}
    shares = dict.fromkeys(("pending", "processing", "succeeded", "failed", "canceled"))
    assert body["total"] == {**dict.fromkeys(numbers, 0), **rates, "shares": shares}
    assert [body[name] for name in ("operations", "providers", "failures", "recent_failures")] == [[], [], [], []]


async def test_times_with_another_zone_mean_the_same_moment(admin: Member, past: Past) -> None:
    await past.was(datetime(2024, 6, 1, 22, 30, tzinfo=UTC))
    query = {"from": "2024-06-02T00:00:00+02:00", "to": "2024-06-02T01:00:00+02:00"}
    assert await accepted(admin, **query) == 1
    answer = (await admin.http.get(PATH, params=query)).json()
    assert (answer["from"], answer["to"]) == ("2024-06-01T22:00:00Z", "2024-06-01T23:00:00Z")


async def test_only_administrators_see_it(
    anybody: httpx.AsyncClient, db: Database, client_for: ClientFor, owner: Any
) -> None:
    member = await newcomer(db, client_for, owner)
    problem(await anybody.get(PATH), 401, "unauthenticated")
    problem(await member.http.get(PATH), 403, "forbidden")
    problem(await member.http.get(PATH, params={"nonsense": "1"}), 403, "forbidden")


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"since": "2026-05-17T12:00:00Z"}, "/since"),
        ({"from": "yesterday"}, "/from"),
        ({"to": "2026-05-17T12:00:00"}, "/to"),
        (between(NOON, NOON), "/from"),
        (between(NOON, NOON - INSTANT), "/from"),
        (between(NOON, NOON + timedelta(days=MOST_DAYS) + INSTANT), "/from"),
        ({"from": "2999-01-01T00:00:00Z"}, "/from"),
        ({"to": "0001-01-01T00:00:00+05:00"}, "/to"),
        ({"to": "9999-12-31T23:59:59-05:00"}, "/to"),
        ({"from": "1999-12-31T23:59:59Z"}, "/from"),
    ],
)
async def test_what_cannot_be_asked(admin: Member, query: dict[str, str], pointer: str) -> None:
    body = problem(await admin.http.get(PATH, params=query), 422, "validation_failed", query)
    assert [error["pointer"] for error in body["errors"]] == [pointer]


async def test_the_longest_span_can_be_asked_for(admin: Member) -> None:
    first = datetime(2000, 1, 1, tzinfo=UTC)
    assert await accepted(admin, **between(first, first + timedelta(days=MOST_DAYS))) == 0
    assert await accepted(admin, to="2000-01-01T00:00:00Z") == 0
