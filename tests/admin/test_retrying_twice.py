"""An administrator whose answer was lost asks again with the same key, and learns what is to run."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from tallyframe.db import Database
from tests.admin.conftest import WHY, Acts
from tests.admin.orders import asleep, failed, run
from tests.conftest import ClientFor
from tests.support.cast import Member
from tests.support.remains import World, problem
from tests.support.scripted import Scripted
from tests.support.shared import newcomer, shared_database
from tests.support.working import Bench

database_url = shared_database("test_admin_retrying_twice")

KEPT = "SELECT ref, answer FROM idempotency_keys WHERE user_id = $1"
ORDERS = "SELECT user_id, account_id FROM generations WHERE id = $1"


async def retry(acts: Acts, generation_id: UUID, **more: Any) -> httpx.Response:
    path, headers = f"/v1/admin/generations/{generation_id}/retry", {"Idempotency-Key": "a key"}
    return await acts.admin.http.post(path, json={"reason": WHY, **more}, headers=headers)


def replayed(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("idempotent-replayed") == "true")


async def test_what_is_woken_is_woken_once(acts: Acts, alice: Member, bench: Bench) -> None:
    generation_id = await asleep(alice, bench)
    first, again = await retry(acts, generation_id), await retry(acts, generation_id)
    assert [(answer.status_code, replayed(answer)) for answer in (first, again)] == [(202, False), (202, True)]
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"] == f"/v1/admin/generations/{generation_id}"
    assert await acts.actions(alice) == ["wake"]


async def test_what_is_ordered_again_is_ordered_once(acts: Acts, alice: Member, bench: Bench, owner: Any) -> None:
    ended = await failed(alice, bench)
    first, again = await retry(acts, ended), await retry(acts, ended)
    assert [(answer.status_code, replayed(answer)) for answer in (first, again)] == [(202, False), (202, True)]
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    new = UUID(first.json()["id"])
    # The key is the administrator's, and the order the user's.
    assert tuple(await owner.fetchrow(KEPT, acts.admin.user.id)) == (new, None)
    assert tuple(await owner.fetchrow(ORDERS, new)) == (alice.user.id, alice.user.account_id)
    assert (await alice.available(), await acts.actions(alice)) == (15, ["order_again"])


async def test_it_is_shown_as_it_is_by_then_and_not_kept(acts: Acts, alice: Member, bench: Bench, owner: Any) -> None:
    ended = await failed(alice, bench)
    first = (await retry(acts, ended)).json()
    assert await run(bench, Scripted("vendor"), UUID(first["id"])) == "succeeded"
    again = (await retry(acts, ended)).json()
    assert (again["id"], again["status"], again["input"]["prompt"]) == (first["id"], "succeeded", "a cup")
    assert (await alice.http.delete(f"/v1/projects/{first['project_id']}")).status_code == 204
    again = await retry(acts, ended)
    assert (again.status_code, again.json()["input"]["prompt"]) == (202, "")
    assert (await owner.fetchrow(KEPT, acts.admin.user.id))["answer"] is None


@pytest.mark.parametrize(("state", "act", "left"), [(asleep, "wake", 10), (failed, "order_again", 15)])
async def test_many_at_once_are_one(acts: Acts, alice: Member, bench: Bench, state: Any, act: str, left: int) -> None:
    generation_id = await state(alice, bench)
    answers = await asyncio.gather(*(retry(acts, generation_id) for _ in range(6)))
    assert [answer.status_code for answer in answers] == [202] * 6
    assert sum(not replayed(answer) for answer in answers) == 1
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert (await alice.available(), await acts.actions(alice)) == (left, [act])


async def test_another_retry_with_the_same_key_is_refused(
    acts: Acts, alice: Member, bench: Bench, db: Database, client_for: ClientFor, owner: Any
) -> None:
    sleeping, other = await asleep(alice, bench), await failed(alice, bench)
    assert (await retry(acts, sleeping)).status_code == 202
    for answer in (
        await retry(acts, other),
        await retry(acts, sleeping, reason="another"),
        await retry(acts, sleeping, even_if_canceled=True),
    ):
        problem(answer, 422, "idempotency_key_reused")
    assert replayed(await retry(acts, sleeping, even_if_canceled=False))
    colleague = Acts(await newcomer(db, client_for, owner, admin=True), owner)
    assert not replayed(await retry(colleague, sleeping))
    assert await acts.actions(alice) == ["wake", "wake"]


async def test_a_refused_retry_leaves_its_key_free(acts: Acts, alice: Member, bench: Bench, world: World) -> None:
    ended = await failed(alice, bench)
    assert (await acts.do(f"users/{alice.user.id}/credits", amount=-16)).status_code == 201
    before = await world.remains()
    problem(await retry(acts, ended), 402, "insufficient_credits")
    assert await world.remains() == before
    assert (await acts.do(f"users/{alice.user.id}/credits", amount=1)).status_code == 201
    answer = await retry(acts, ended)
    assert (answer.status_code, replayed(answer)) == (202, False)
