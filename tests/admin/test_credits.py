"""Credits given and taken by administrators: an entry with its line in the log, or neither."""

import asyncio
import json
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import sqlalchemy as sa

from tallyframe.accounts import profiles
from tallyframe.accounts.users import LOCAL
from tallyframe.admin.credits import Adjustment, adjust
from tallyframe.admin.log import Decision
from tallyframe.credits import MAX_CREDITS
from tallyframe.db import Database
from tests.admin.conftest import WHY, Acts
from tests.support.cast import Member
from tests.support.remains import World, problem
from tests.support.shared import shared_database

database_url = shared_database("test_admin_credits")

COUNTS = """
    SELECT (SELECT count(*) FROM ledger_entries), (SELECT count(*) FROM admin_log),
           (SELECT sum(balance) FROM accounts)"""


async def counts(owner: Any) -> tuple[Any, ...]:
    return tuple(await owner.fetchrow(COUNTS))


def path(member: Member) -> str:
    return f"users/{member.user.id}/credits"


async def test_credits_given_are_an_entry_that_the_user_sees_with_the_reason(acts: Acts, alice: Member) -> None:
    answer = await acts.do(path(alice), amount=7, reason="  for your patience ")
    assert answer.status_code == 201, answer.text
    entry = answer.json()
    moved = {"kind": "adjustment", "amount": 7, "balance_after": 27, "reason": "for your patience"}
    nothing = {"generation_id": None, "reverses_entry_id": None}
    assert entry == {**moved, **nothing, "id": entry["id"], "created_at": entry["created_at"]}
    assert (await alice.entries())[0] == entry
    assert await alice.available() == 27
    [line] = await acts.lines(alice)
    assert (line["action"], line["admin_id"], line["user_id"]) == (
        "adjust_credits",
        acts.admin.user.id,
        alice.user.id,
    )
    assert (line["reason"], line["generation_id"]) == ("for your patience", None)
    assert json.loads(line["details"]) == {"amount": 7, "entry_id": entry["id"]}


async def test_credits_can_be_taken_down_to_nothing_and_no_further(acts: Acts, alice: Member, owner: Any) -> None:
    assert (await acts.do(path(alice), amount=-20)).json()["balance_after"] == 0
    before = await counts(owner)
    body = problem(await acts.do(path(alice), amount=-1), 402, "insufficient_credits")
    assert (body["required"], body["available"]) == (1, 0)
    assert body["detail"] == "1 credits can't be taken: 0 are available."
    assert await counts(owner) == before
    assert await acts.actions(alice) == ["adjust_credits"]


async def test_the_same_adjustment_twice_is_two(acts: Acts, alice: Member) -> None:
    for _ in range(2):
        assert (await acts.do(path(alice), amount=3)).status_code == 201
    assert await alice.available() == 26


async def test_of_two_who_take_the_last_credits_at_once_one_does(acts: Acts, alice: Member, owner: Any) -> None:
    before = await counts(owner)
    answers = await asyncio.gather(*(acts.do(path(alice), amount=-15) for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [201, *[402] * 5]
    after = await counts(owner)
    assert [now - then for now, then in zip(after, before, strict=True)] == [1, 1, -15]


async def test_many_at_once_are_all_counted(acts: Acts, alice: Member) -> None:
    answers = await asyncio.gather(*(acts.do(path(alice), amount=amount) for amount in (5, -3, 10, -2, 1, -1)))
    assert {answer.status_code for answer in answers} == {201}
    assert await alice.available() == 30
    assert sorted(json.loads(line["details"])["amount"] for line in await acts.lines(alice)) == [-3, -2, -1, 1, 5, 10]


async def test_a_line_that_cannot_be_written_takes_the_credits_with_it(
    acts: Acts, alice: Member, db: Database, owner: Any
) -> None:
    before = await counts(owner)
    nobody = Decision(uuid4(), WHY)
    with pytest.raises(sa.exc.IntegrityError):
        await adjust(db, Adjustment(alice.user.id, 5, nobody))
    assert await counts(owner) == before


async def test_the_same_adjustment_sent_again_is_made_once(acts: Acts, alice: Member, owner: Any) -> None:
    async def give(amount: int, key: str = "a key") -> httpx.Response:
        body = {"amount": amount, "reason": WHY}
        return await acts.admin.http.post(f"/v1/admin/{path(alice)}", json=body, headers={"Idempotency-Key": key})

    first, again, *rest = await asyncio.gather(*(give(5) for _ in range(6)))
    assert {answer.status_code for answer in (first, again, *rest)} == {201}
    assert len({answer.text for answer in (first, again, *rest)}) == 1
    assert await alice.available() == 25
    assert await acts.actions(alice) == ["adjust_credits"]
    problem(await give(6), 422, "idempotency_key_reused")
    await owner.execute("UPDATE idempotency_keys SET answer = NULL")  # as a process left it that died
    assert (await give(5)).json() == first.json()
    problem(await give(-1000, "another"), 402, "insufficient_credits")
    assert await owner.fetchval("SELECT count(*) FROM idempotency_keys WHERE user_id = $1", acts.admin.user.id) == 1


async def test_nobody_and_somebody_deleted_get_nothing(acts: Acts, alice: Member, db: Database, owner: Any) -> None:
    async with db.transaction() as transaction:
        await profiles.delete_user(transaction, LOCAL, str(alice.user.email))
    before = await counts(owner)
    problem(await acts.do(path(alice), amount=5), 409, "user_deleted")
    problem(await acts.do(f"users/{uuid4()}/credits", amount=5), 404, "not_found")
    assert await counts(owner) == before


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"reason": WHY}, "/amount"),
        ({"amount": 0, "reason": WHY}, "/amount"),
        ({"amount": True, "reason": WHY}, "/amount"),
        ({"amount": "5", "reason": WHY}, "/amount"),
        ({"amount": 5.0, "reason": WHY}, "/amount"),
        ({"amount": None, "reason": WHY}, "/amount"),
        ({"amount": MAX_CREDITS + 1, "reason": WHY}, "/amount"),
        ({"amount": -MAX_CREDITS - 1, "reason": WHY}, "/amount"),
        ({"amount": 10**30, "reason": WHY}, "/amount"),
        ({"amount": 5, "reason": WHY, "kind": "grant"}, "/kind"),
    ],
)
async def test_what_is_no_adjustment(
    acts: Acts, alice: Member, world: World, body: dict[str, Any], pointer: str
) -> None:
    before = await world.remains(), await acts.actions(alice)
    answer = await acts.admin.http.post(f"/v1/admin/{path(alice)}", json=body)
    assert [error["pointer"] for error in problem(answer, 422, "validation_failed")["errors"]] == [pointer]
    assert (await world.remains(), await acts.actions(alice)) == before


@pytest.mark.parametrize("amount", [0, True, MAX_CREDITS + 1, -MAX_CREDITS - 1])
def test_no_other_caller_can_move_such_amounts(amount: int) -> None:
    with pytest.raises(ValueError, match="an adjustment gives or takes 1 to"):
        Adjustment(UUID(int=1), amount, Decision(UUID(int=2), WHY))


async def test_the_most_there_may_be(acts: Acts, alice: Member) -> None:
    for _ in range(2):
        assert (await acts.do(path(alice), amount=MAX_CREDITS)).status_code == 201
    assert await alice.available() == 20 + 2 * MAX_CREDITS
    assert (await acts.do(path(alice), amount=-MAX_CREDITS)).status_code == 201
