"""What administrators see of the calls to vendors: all of them or those asked for, page by page, and their sums."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import httpx
import pytest
import sqlalchemy as sa

from tallyframe.api.admin.ai_operations import DEFAULT_DAYS
from tallyframe.calls.tables import ai_operations
from tallyframe.db import Database
from tallyframe.ids import new_id
from tallyframe.settings import load_settings
from tests.conftest import ClientFor
from tests.support.cast import Member
from tests.support.postings import Postings
from tests.support.remains import problem
from tests.support.scripted import Scripted, among, final
from tests.support.shared import newcomer, shared_database
from tests.support.working import Bench

database_url = shared_database("test_admin_ai_operations")

PATH = "/v1/admin/ai-operations"
NOON = datetime(2026, 5, 17, 12, tzinfo=UTC)
COLUMNS = set(ai_operations.c.keys())


@pytest.fixture
async def admin(db: Database, client_for: ClientFor, owner: Any) -> Member:
    """An administrator; there are no calls yet."""
    await owner.execute("DELETE FROM ai_operations")
    return await newcomer(db, client_for, owner, admin=True)


@pytest.fixture
async def generation(admin: Member, owner: Any) -> UUID:
    return await Postings(owner, admin.user.account_id, admin.user.id).generation()


async def write(db: Database, generation: UUID, **more: Any) -> str:
    """Write a call into the log; return its id."""
    usual = {"operation": "image", "kind": "order", "attempt": 1, "provider": "gemini", "model": "flash"}
    row = {"id": new_id(), "generation_id": generation, "status": "succeeded", "created_at": NOON, **usual, **more}
    await db.run(sa.insert(ai_operations).values(**row))
    return str(row["id"])


async def page(member: Member, query: Mapping[str, Any] | None = None) -> dict[str, Any]:
    since = {"from": (NOON - timedelta(days=1)).isoformat()}
    answer = await member.http.get(PATH, params={**since, **(query or {})})
    assert answer.status_code == 200, answer.text
    assert set(answer.json()) == {"data", "next_cursor", "sums"}
    body: dict[str, Any] = answer.json()
    return body


def ids(body: dict[str, Any]) -> list[str]:
    return [row["id"] for row in body["data"]]


async def test_without_a_time_it_shows_the_last_days(admin: Member, worker_db: Database, generation: UUID) -> None:
    now = datetime.now(UTC)
    old = await write(worker_db, generation, created_at=now - timedelta(days=DEFAULT_DAYS, minutes=1))
    new = await write(worker_db, generation, created_at=now - timedelta(days=DEFAULT_DAYS, minutes=-1))
    assert ids((await admin.http.get(PATH)).json()) == [new]
    until = {"to": (now - timedelta(hours=1)).isoformat()}
    assert ids((await admin.http.get(PATH, params=until)).json()) == [new, old]
    assert ids((await admin.http.get(PATH, params={"generation_id": str(generation)})).json()) == [new, old]


async def test_only_administrators_see_it(
    anybody: httpx.AsyncClient, admin: Member, db: Database, client_for: ClientFor, owner: Any
) -> None:
    member = await newcomer(db, client_for, owner)
    problem(await anybody.get(PATH), 401, "unauthenticated")
    problem(await member.http.get(PATH), 403, "forbidden")
    problem(await member.http.get(PATH, params={"nonsense": "1"}), 403, "forbidden")
    nothing = await page(admin)
    assert (nothing["data"], nothing["next_cursor"]) == ([], None)
    counts = {"calls": 0, "failed": 0, "in_doubt": 0}
    assert nothing["sums"] == {**dict.fromkeys(nothing["sums"]), **counts}


async def test_a_call_with_all_its_figures(admin: Member, worker_db: Database, generation: UUID) -> None:
    figures = {"input_tokens": 3, "output_tokens": 1290, "video_seconds": 6.5, "cost_micros": 77_403}
    told = {"error_code": "provider_quota", "error": "slow down", "duration_ms": 1234, "vendor_request_id": "req-1"}
    call = await write(worker_db, generation, status="failed", attempt=2, **figures, **told)
    [row] = (await page(admin))["data"]
    names = {"operation": "image", "kind": "order", "provider": "gemini", "model": "flash", "step": None}
    names["status"] = "failed"
    where = {
        "id": call,
        "generation_id": str(generation),
        "attempt": 2,
        "status": "failed",
        "created_at": "2026-05-17T12:00:00Z",
    }
    assert row == {**where, **names, **figures, **told}
    assert set(row) == COLUMNS


async def test_newest_first(admin: Member, worker_db: Database, generation: UUID) -> None:
    calls = [await write(worker_db, generation) for _ in range(4)]
    assert ids(await page(admin)) == calls[::-1]


@pytest.fixture
async def many(admin: Member, worker_db: Database, owner: Any, generation: UUID) -> dict[str, str]:
    """One call that differs from all others in each way, by what it differs in."""
    other = await Postings(owner, admin.user.account_id, admin.user.id).generation()
    hour = timedelta(hours=1)
    rows: dict[str, dict[str, Any]] = {
        "usual": {},
        "operation": {"operation": "video"},
        "kind": {"kind": "collect"},
        "provider": {"provider": "omni"},
        "model": {"model": "pro"},
        "status": {"status": "in_doubt"},
        "error_code": {"error_code": "provider_timeout"},
        "generation_id": {"generation_id": other},
        "early": {"created_at": NOON - hour},
        "late": {"created_at": NOON + hour},
    }
    return {name: await write(worker_db, generation, **row) for name, row in rows.items()}


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("operation", "video"),
        ("kind", "collect"),
        ("provider", "omni"),
        ("model", "pro"),
        ("status", "in_doubt"),
        ("error_code", "provider_timeout"),
    ],
)
async def test_each_filter_finds_its_own(admin: Member, many: dict[str, str], name: str, value: str) -> None:
    found = await page(admin, {name: value})
    assert ids(found) == [many[name]]
    assert found["sums"]["calls"] == 1


async def test_the_calls_of_one_generation(admin: Member, many: dict[str, str], owner: Any) -> None:
    query = "SELECT generation_id FROM ai_operations WHERE id = $1"
    generation = await owner.fetchval(query, UUID(many["generation_id"]))
    assert ids(await page(admin, {"generation_id": str(generation)})) == [many["generation_id"]]


async def test_from_a_time_on_and_before_another(admin: Member, many: dict[str, str]) -> None:
    after = await page(admin, {"from": (NOON + timedelta(minutes=1)).isoformat()})
    assert ids(after) == [many["late"]]
    before = await page(admin, {"to": NOON.isoformat()})
    assert ids(before) == [many["early"]]
    between = await page(admin, {"from": NOON.isoformat(), "to": (NOON + timedelta(hours=1)).isoformat()})
    assert set(ids(between)) == set(many.values()) - {many["early"], many["late"]}
    elsewhere = await page(admin, {"from": "2026-05-17T14:30:00+02:00"})
    assert ids(elsewhere) == [many["late"]]


async def test_filters_together_are_all_meant(admin: Member, worker_db: Database, generation: UUID) -> None:
    wanted = {"operation": "video", "kind": "collect", "provider": "omni", "model": "pro", "status": "failed"}
    wanted |= {"error_code": "provider_timeout"}
    usual = {"operation": "image", "kind": "order", "provider": "gemini", "model": "flash", "status": "succeeded"}
    nearly = {name: await write(worker_db, generation, **{**wanted, name: usual.get(name)}) for name in wanted}
    call = await write(worker_db, generation, **wanted)
    times = {"from": NOON.isoformat(), "to": (NOON + timedelta(seconds=1)).isoformat()}
    query = {**wanted, **times, "generation_id": str(generation)}
    found = await page(admin, query)
    assert (ids(found), found["sums"]["calls"]) == ([call], 1)
    for name, other in nearly.items():
        fewer = {key: value for key, value in query.items() if key != name}
        assert ids(await page(admin, fewer)) == [call, other]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"providers": "omni"}, "/providers"),
        ({"status": "done"}, "/status"),
        ({"kind": "submit"}, "/kind"),
        ({"error_code": "bad_luck"}, "/error_code"),
        ({"generation_id": "1"}, "/generation_id"),
        ({"from": "yesterday"}, "/from"),
        ({"from": "2026-05-17T12:00:00"}, "/from"),
        ({"from": NOON.isoformat(), "to": NOON.isoformat()}, "/from"),
        ({"from": NOON.isoformat(), "to": (NOON - timedelta(days=1)).isoformat()}, "/from"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "101"}, "/limit"),
        ({"cursor": "nonsense"}, "/cursor"),
        ({"to": "0001-01-02T00:00:00Z"}, "/to"),
        ({"provider": "a\x00b"}, "/provider"),
        ({"model": "m" * 201}, "/model"),
    ],
)
async def test_what_cannot_be_asked(admin: Member, query: dict[str, str], pointer: str) -> None:
    body = problem(await admin.http.get(PATH, params=query), 422, "validation_failed", query)
    assert [error["pointer"] for error in body["errors"]] == [pointer]


async def test_pages_without_gaps_or_repeats_while_calls_are_added(
    admin: Member, worker_db: Database, generation: UUID
) -> None:
    calls = [await write(worker_db, generation) for _ in range(7)]
    seen: list[str] = []
    query: dict[str, Any] = {"limit": 3}
    for _ in range(3):
        body = await page(admin, query)
        seen += ids(body)
        query["cursor"] = body["next_cursor"]
        await write(worker_db, generation)
    assert body["next_cursor"] is None
    assert seen == calls[::-1]


async def test_a_page_that_is_just_full_is_the_last(admin: Member, worker_db: Database, generation: UUID) -> None:
    calls = [await write(worker_db, generation) for _ in range(3)]
    body = await page(admin, {"limit": 3})
    assert (ids(body), body["next_cursor"]) == (calls[::-1], None)


async def test_sums_are_of_all_that_match_and_not_of_the_page(
    admin: Member, worker_db: Database, generation: UUID
) -> None:
    for number in range(1, 21):
        tokens = {"input_tokens": number, "output_tokens": 2**33, "cost_micros": 10}
        await write(worker_db, generation, provider="a", duration_ms=number * 100, **tokens)
    await write(worker_db, generation, provider="a", status="failed", video_seconds=2.5)
    await write(worker_db, generation, provider="a", status="in_doubt", video_seconds=4.0)
    await write(worker_db, generation, provider="b", status="failed", cost_micros=1_000_000)
    body = await page(admin, {"provider": "a", "limit": 2})
    assert len(body["data"]) == 2
    assert body["sums"] == {
        "calls": 22,
        "failed": 1,
        "in_doubt": 1,
        "input_tokens": 210,
        "output_tokens": 20 * 2**33,
        "video_seconds": 6.5,
        "cost_micros": 200,
        "average_ms": 1050.0,
        "p95_ms": pytest.approx(1905.0),
    }
    again = await page(admin, {"provider": "a", "limit": 2, "cursor": body["next_cursor"]})
    assert again["sums"] == body["sums"]


async def test_there_is_nothing_secret_in_it(admin: Member, bench: Bench) -> None:
    load_settings(gemini_api_key="a-key-of-the-settings")
    said = f"a-key-of-the-settings is wrong, and so are {admin.key} and AIza{'x' * 35}"
    vendor = Scripted("leaky", make=[final(operator_message=said)])
    await admin.order("a prompt for nobody else")
    await bench.drain(bench.runner(providers=among(vendor)))
    text = (await admin.http.get(PATH)).text
    assert "[hidden] is wrong, and so are [hidden] and [hidden]" in text
    for secret in ("a-key-of-the-settings", admin.key, "AIza", "a prompt for nobody else", str(admin.user.id)):
        assert secret not in text
