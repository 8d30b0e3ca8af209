"""The log: who did what to whom, why and when; whatever is done later."""

import json
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tallyframe.accounts import profiles
from tallyframe.accounts.users import LOCAL
from tallyframe.db import Database
from tests.admin.conftest import WHY, Acts
from tests.conftest import ClientFor
from tests.support.cast import Member
from tests.support.remains import problem
from tests.support.scripted import QUICKLY, Scripted, among, final
from tests.support.shared import newcomer, shared_database
from tests.support.working import Bench

database_url = shared_database("test_admin_log")


async def log(acts: Acts, **query: Any) -> list[dict[str, Any]]:
    lines: list[dict[str, Any]] = (await acts.look("log", limit=100, **query))["data"]
    return lines


async def test_who_what_whom_why_and_when(acts: Acts, alice: Member) -> None:
    entry = (await acts.do(f"users/{alice.user.id}/credits", amount=-4, reason="a mistake of ours")).json()
    generation = (await alice.order())["generation"]["id"]
    assert (await acts.do(f"generations/{generation}/cancel", reason="«péché»\n— it looped")).status_code == 200
    canceled, adjusted = await log(acts, user_id=alice.user.id)
    people = {
        "admin": {"id": str(acts.admin.user.id), "email": acts.admin.user.email},
        "user": {"id": str(alice.user.id), "email": alice.user.email},
    }
    assert adjusted == {
        **people,
        "id": adjusted["id"],
        "action": "adjust_credits",
        "generation_id": None,
        "reason": "a mistake of ours",
        "details": {"amount": -4, "entry_id": entry["id"]},
        "created_at": adjusted["created_at"],
    }
    assert (canceled["action"], canceled["generation_id"]) == ("cancel", generation)
    assert (canceled["reason"], canceled["details"]) == ("«péché»\n— it looped", {})
    assert entry["created_at"] <= canceled["created_at"]


async def test_each_filter_finds_its_own(
    acts: Acts, alice: Member, bench: Bench, db: Database, client_for: ClientFor, owner: Any
) -> None:
    other = Acts(await newcomer(db, client_for, owner, admin=True), owner)
    generation = UUID((await alice.order())["generation"]["id"])
    runner = bench.runner(providers=among(Scripted("vendor", make=[final()])), retry=QUICKLY)
    assert (await acts.do(f"generations/{generation}/retry")).status_code == 202
    assert await runner.run(generation) == "failed"
    again = (await other.do(f"generations/{generation}/retry")).json()["id"]
    assert (await other.do(f"generations/{again}/cancel")).status_code == 200
    assert (await acts.do(f"users/{other.admin.user.id}/credits", amount=1)).status_code == 201

    async def found(**query: Any) -> list[str]:
        return [line["action"] for line in await log(acts, **query)]

    assert await found(user_id=alice.user.id) == ["cancel", "order_again", "wake"]
    assert await found(generation_id=generation) == ["order_again", "wake"]
    assert await found(generation_id=again) == ["cancel"]
    assert await found(admin_id=other.admin.user.id) == ["cancel", "order_again"]
    assert await found(user_id=other.admin.user.id) == ["adjust_credits"]
    assert await found(action="wake", user_id=alice.user.id, admin_id=acts.admin.user.id) == ["wake"]
    assert await found(action="wake", admin_id=other.admin.user.id) == []


async def test_pages_without_gaps_or_repeats_while_more_is_done(acts: Acts, alice: Member) -> None:
    path = f"users/{alice.user.id}/credits"
    for amount in range(1, 8):
        await acts.do(path, amount=amount)
    seen: list[int] = []
    query: dict[str, Any] = {"user_id": alice.user.id, "limit": 3}
    for _ in range(3):
        body = await acts.look("log", **query)
        seen += [line["details"]["amount"] for line in body["data"]]
        query["cursor"] = body["next_cursor"]
        await acts.do(path, amount=100)
    assert (body["next_cursor"], seen) == (None, [7, 6, 5, 4, 3, 2, 1])
    full = await acts.look("log", user_id=alice.user.id, limit=10)
    assert (len(full["data"]), full["next_cursor"]) == (10, None)


async def test_it_outlives_those_whom_it_is_about(acts: Acts, alice: Member, db: Database) -> None:
    await acts.do(f"users/{alice.user.id}/credits", amount=2)
    async with db.transaction() as transaction:
        await profiles.delete_user(transaction, LOCAL, str(alice.user.email))
    [line] = await log(acts, user_id=alice.user.id)
    assert (line["user"], line["reason"]) == ({"id": str(alice.user.id), "email": None}, WHY)


@pytest.mark.parametrize(
    "statement", ["UPDATE admin_log SET reason = 'another'", "DELETE FROM admin_log", "TRUNCATE admin_log"]
)
async def test_nobody_changes_it_not_even_the_owner(acts: Acts, alice: Member, owner: Any, statement: str) -> None:
    await acts.do(f"users/{alice.user.id}/credits", amount=2)
    before = await acts.lines(alice)
    assert json.loads(before[0]["details"])["amount"] == 2
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await owner.execute(statement)
    assert await acts.lines(alice) == before


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"user": "1"}, "/user"),
        ({"user_id": "1"}, "/user_id"),
        ({"generation_id": "1"}, "/generation_id"),
        ({"admin_id": "me"}, "/admin_id"),
        ({"action": "grant"}, "/action"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "101"}, "/limit"),
        ({"cursor": "nonsense"}, "/cursor"),
    ],
)
async def test_what_cannot_be_asked(acts: Acts, query: dict[str, str], pointer: str) -> None:
    answer = await acts.admin.http.get("/v1/admin/log", params=query)
    assert [error["pointer"] for error in problem(answer, 422, "validation_failed")["errors"]] == [pointer]
