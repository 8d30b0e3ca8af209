"""GET /v1/admin/stats: figures that were worked out by hand."""

from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

import pytest

from tallyframe.db import Database
from tallyframe.reports.failed import LATEST
from tests.conftest import ClientFor
from tests.support.cast import Member
from tests.support.past import Past
from tests.support.postings import Postings
from tests.support.shared import newcomer, shared_database

database_url = shared_database("test_admin_stats")

PATH = "/v1/admin/stats"
NOTHING = {"average": None, "p50": None, "p95": None, "pickup_average": None, "pickup_p95": None}
_days = count(step=3)


@pytest.fixture
def noon() -> datetime:
    """A noon with a day before and after it that no other test knows of."""
    return datetime(2026, 1, 2, 12, tzinfo=UTC) + timedelta(days=next(_days))


@pytest.fixture
async def admin(db: Database, client_for: ClientFor, owner: Any) -> Member:
    return await newcomer(db, client_for, owner, admin=True)


@pytest.fixture
async def past(admin: Member, owner: Any) -> Past:
    postings = Postings(owner, admin.user.account_id, admin.user.id)
    await postings.post("grant", 10_000)
    return Past(postings)


async def stats(member: Member, since: datetime, until: datetime | None = None) -> dict[str, Any]:
    query = {"from": since.isoformat(), "to": (until or since + timedelta(hours=12)).isoformat()}
    answer = await member.http.get(PATH, params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def test_numbers_shares_and_credits_of_a_mixed_day(admin: Member, past: Past, noon: datetime) -> None:
    for _ in range(4):
        await past.was(noon, "succeeded")
    await past.was(noon, "succeeded", operation="video", provider="omni", price=10)
    await past.was(noon, "failed", operation="video", provider="veo", price=10)
    await past.was(noon, "failed")
    await past.was(noon, "canceled", provider=None)
    await past.was(noon, "processing")
    await past.was(noon, "pending", provider=None)
    body = await stats(admin, noon)
    counts = {"pending": 1, "processing": 1, "succeeded": 5, "failed": 2, "canceled": 1}
    assert body["total"] == {
        "accepted": 10,
        **counts,
        "shares": {status: number / 10 for status, number in counts.items()},
        "success_rate": pytest.approx(5 / 7),
        "charged": 60,
        "refunded": 20,
        "kept": 40,
        "refund_rate": 1.0,
    }
    image, video = body["operations"]
    assert (image["operation"], video["operation"]) == ("image", "video")
    assert [image["numbers"][name] for name in ("accepted", "charged", "refunded", "kept")] == [8, 40, 10, 30]
    assert [video["numbers"][name] for name in ("accepted", "charged", "refunded", "kept")] == [2, 20, 10, 10]
    assert (image["numbers"]["success_rate"], video["numbers"]["success_rate"]) == (0.8, 0.5)
    found = {(each["operation"], each["provider"]): each["numbers"] for each in body["providers"]}
    assert {key: numbers["accepted"] for key, numbers in found.items()} == {
        ("image", "gemini"): 6,
        ("image", None): 2,
        ("video", "omni"): 1,
        ("video", "veo"): 1,
    }
    assert [found["video", "omni"][name] for name in ("charged", "refunded", "refund_rate")] == [10, 0, None]
    assert [found["video", "veo"][name] for name in ("charged", "refunded", "refund_rate")] == [10, 10, 1.0]
    assert [found["image", None][name] for name in ("charged", "refunded", "refund_rate")] == [10, 5, 1.0]


async def test_times_are_of_what_succeeded_and_pickup_of_what_was_taken_up(
    admin: Member, past: Past, noon: datetime
) -> None:
    for number in range(1, 22):
        await past.was(noon, took=number, picked=number / 10)
    await past.was(noon, "failed", took=500, picked=9)
    await past.was(noon, "canceled", took=900)
    await past.was(noon, "processing", picked=9)
    await past.was(noon, "pending")
    [image] = (await stats(admin, noon))["operations"]
    assert image["times"] == {
        "average": pytest.approx(11),
        "p50": pytest.approx(11),
        "p95": pytest.approx(20),
        "pickup_average": pytest.approx((23.1 + 18) / 23),
        # Of 23 sorted values the 95th percentile is at place 20.9, counted from 0: between 2.1 and 9.
        "pickup_p95": pytest.approx(2.1 + 0.9 * 6.9),
    }


async def test_each_operation_and_provider_has_its_own_times(admin: Member, past: Past, noon: datetime) -> None:
    for provider, took in (("omni", 10), ("omni", 20), ("veo", 60)):
        await past.was(noon, operation="video", provider=provider, took=took, picked=1)
    await past.was(noon, took=2, picked=1)
    await past.was(noon, "failed", provider="offline", took=7)
    body = await stats(admin, noon)
    averages = {each["operation"]: each["times"]["average"] for each in body["operations"]}
    assert averages == {"image": pytest.approx(2), "video": pytest.approx(30)}
    by_provider = {each["provider"]: each["times"] for each in body["providers"]}
    assert by_provider["omni"]["average"] == pytest.approx(15)
    assert by_provider["veo"]["p95"] == pytest.approx(60)
    assert by_provider["offline"] == NOTHING


async def test_the_refund_rate_tells_what_is_still_owed(admin: Member, past: Past, noon: datetime) -> None:
    await past.was(noon, "failed")
    await past.was(noon, "canceled")
    await past.was(noon, "failed", price=0)
    assert (await stats(admin, noon))["total"]["refund_rate"] == 1.0
    await past.was(noon, "failed", back=0)
    await past.was(noon, "canceled", back=4)
    total = (await stats(admin, noon))["total"]
    assert (total["refund_rate"], total["charged"], total["refunded"]) == (0.5, 20, 14)


async def test_there_is_no_rate_where_nothing_was_owed(admin: Member, past: Past, noon: datetime) -> None:
    await past.was(noon)
    await past.was(noon, "failed", price=0)
    total = (await stats(admin, noon))["total"]
    assert (total["refund_rate"], total["success_rate"], total["charged"]) == (None, 0.5, 5)


async def test_a_gift_for_what_succeeded_lowers_what_is_kept_and_no_rate(
    admin: Member, past: Past, noon: datetime
) -> None:
    await past.was(noon, "succeeded", back=5)
    await past.was(noon, "failed")
    total = (await stats(admin, noon))["total"]
    assert (total["refunded"], total["kept"], total["refund_rate"]) == (10, 0, 1.0)


async def test_failures_by_their_codes_most_first(admin: Member, past: Past, noon: datetime) -> None:
    for code in ("provider_timeout", "content_policy", "provider_timeout"):
        await past.was(noon, "failed", error=code)
    await past.was(noon, "failed", operation="video", error="content_policy")
    await past.was(noon, "canceled")
    await past.was(noon, "succeeded")
    found = [tuple(each.values()) for each in (await stats(admin, noon))["failures"]]
    assert found == [("image", "provider_timeout", 2), ("image", "content_policy", 1), ("video", "content_policy", 1)]


async def test_recent_failures_with_their_refunds(admin: Member, past: Past, noon: datetime, owner: Any) -> None:
    first = await past.was(noon, "failed", took=90, picked=1, error="provider_timeout", provider="veo")
    second = await past.was(noon + timedelta(seconds=30), "failed", took=10, price=0, provider=None)
    await past.was(noon, "canceled", took=95)
    said = """
        INSERT INTO generation_steps (generation_id, name, attempt, state, provider, model, operator_message)
        VALUES ($1, 'image', $2, 'failed', 'veo', 'a model', $3)"""
    for attempt, words in ((1, "busy"), (2, "too slow"), (3, None)):
        await owner.execute(said, first, attempt, words)
    latest, before = (await stats(admin, noon))["recent_failures"]
    assert latest == {
        "generation_id": str(first),
        "project_id": latest["project_id"],
        "user_id": str(admin.user.id),
        "operation": "image",
        "provider": "veo",
        "model": "a model",
        "error_code": "provider_timeout",
        "operator_message": "too slow",
        "created_at": noon.isoformat().replace("+00:00", "Z"),
        "finished_at": (noon + timedelta(seconds=90)).isoformat().replace("+00:00", "Z"),
        "charged": 5,
        "refunded": 5,
        "refund_entry_id": str(past.refunds[first]),
    }
    names = ("generation_id", "operator_message", "charged", "refunded", "refund_entry_id")
    assert [before[name] for name in names] == [str(second), None, 0, 0, None]


async def test_only_the_latest_failures_are_listed_and_all_are_counted(
    admin: Member, past: Past, noon: datetime
) -> None:
    failed = [await past.was(noon, "failed", took=60 - number) for number in range(LATEST + 2)]
    body = await stats(admin, noon)
    assert [each["generation_id"] for each in body["recent_failures"]] == [str(each) for each in failed[:LATEST]]
    assert body["total"]["failed"] == LATEST + 2
