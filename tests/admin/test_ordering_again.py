"""A failed order placed again by an administrator: the user pays once for what they get, whoever tries, how often."""

import asyncio
import json
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest
import sqlalchemy as sa

from tallyframe.accounts import profiles
from tallyframe.accounts.users import LOCAL
from tallyframe.admin import work
from tallyframe.admin.log import Decision
from tallyframe.credits import Credits
from tallyframe.db import Database
from tallyframe.generations.accept.order import Order
from tallyframe.settings import Settings
from tests.admin.conftest import WHY, Acts
from tests.admin.orders import WAITS, asleep, calls, failed, run
from tests.conftest import serving
from tests.support.cast import Member
from tests.support.remains import World, problem
from tests.support.scripted import Scripted, final
from tests.support.shared import shared_database
from tests.support.working import Bench

database_url = shared_database("test_admin_ordering_again")


def again(buyer: Member, row: Any) -> Order:
    return Order(
        user_id=buyer.user.id,
        account_id=buyer.user.account_id,
        operation="image",
        input=json.loads(row["input"]),
        credits=Credits(5),
        max_active=10,
        max_age=timedelta(hours=1),
    )


async def test_a_failed_order_is_placed_and_paid_again(acts: Acts, alice: Member, bench: Bench, owner: Any) -> None:
    ended = await failed(alice, bench)
    answer = await acts.do(f"generations/{ended}/retry")
    assert answer.status_code == 202, answer.text
    body = answer.json()
    new = UUID(body["id"])
    assert new != ended
    assert answer.headers["location"] == f"/v1/admin/generations/{new}"
    assert (body["status"], body["owner"]["id"]) == ("pending", str(alice.user.id))
    assert body["credits"] == {"quoted": 5, "charged": 5, "refunded": 0}
    assert body["input"] == (await acts.look(f"generations/{ended}"))["input"]
    assert await alice.available() == 15
    [line] = await acts.lines(alice)
    assert (line["action"], line["generation_id"], line["reason"]) == ("order_again", ended, WHY)
    assert json.loads(line["details"]) == {"generation_id": str(new)}
    assert await calls(owner, new) == ["run_generation"]
    assert await run(bench, Scripted("vendor"), new) == "succeeded"
    project = await alice.project(body["project_id"])
    assert (project["status"], project["generation"]["id"]) == ("draft", str(new))


async def test_one_failure_is_made_good_once(acts: Acts, alice: Member, bench: Bench) -> None:
    ended = await failed(alice, bench)
    new = (await acts.do(f"generations/{ended}/retry")).json()["id"]
    problem(await acts.do(f"generations/{ended}/retry"), 409, "generating")
    assert await run(bench, Scripted("vendor"), UUID(new)) == "succeeded"
    problem(await acts.do(f"generations/{ended}/retry"), 409, "not_retryable")
    problem(await acts.do(f"generations/{new}/retry"), 409, "not_retryable")
    assert await alice.available() == 15
    assert await acts.actions(alice) == ["order_again"]


async def test_what_failed_again_may_be_tried_again(acts: Acts, alice: Member, bench: Bench) -> None:
    ended = await failed(alice, bench)
    again = UUID((await acts.do(f"generations/{ended}/retry")).json()["id"])
    assert await run(bench, Scripted("vendor", make=[final()]), again) == "failed"
    problem(await acts.do(f"generations/{ended}/retry"), 409, "not_retryable")
    assert (await acts.do(f"generations/{again}/retry")).status_code == 202
    assert await alice.available() == 15


async def test_of_many_who_order_again_at_once_one_does(acts: Acts, alice: Member, bench: Bench, owner: Any) -> None:
    ended = await failed(alice, bench)
    answers = await asyncio.gather(*(acts.do(f"generations/{ended}/retry") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [202, *[409] * 5]
    assert await alice.available() == 15
    assert await acts.actions(alice) == ["order_again"]
    assert await owner.fetchval("SELECT count(*) FROM generations WHERE user_id = $1", alice.user.id) == 2


async def test_somebody_who_reads_too_early_still_pays_once(
    acts: Acts, alice: Member, bench: Bench, db: Database, owner: Any
) -> None:
    """Whatever was looked at before, it is the statement that decides: here a second time after all has ended well."""
    ended = await failed(alice, bench)
    row = await owner.fetchrow("SELECT * FROM generations WHERE id = $1", ended)
    new = UUID((await acts.do(f"generations/{ended}/retry")).json()["id"])
    assert await run(bench, Scripted("vendor"), new) == "succeeded"
    wanted = again(alice, row)
    decision = Decision(acts.admin.user.id, WHY)
    assert await work.order_again(db, decision, ended, wanted, row["project_id"]) is None
    async with db.transaction() as transaction:
        await profiles.delete_user(transaction, LOCAL, str(alice.user.email))
    assert await work.order_again(db, decision, new, wanted, row["project_id"]) is None
    assert (await alice.available(), await acts.actions(alice)) == (15, ["order_again"])


async def test_what_the_user_cancels_before_it_is_woken_is_not_ordered_again(
    acts: Acts, alice: Member, bench: Bench, world: World
) -> None:
    sleeping = await asleep(alice, bench)
    project = (await acts.look(f"generations/{sleeping}"))["project_id"]
    assert (await alice.http.post(f"/v1/projects/{project}/cancel")).status_code == 200
    before = await world.remains()
    for how in ({}, {"even_if_canceled": False}):
        body = problem(await acts.do(f"generations/{sleeping}/retry", **how), 409, "not_retryable")
        assert "even_if_canceled" in body["detail"]
    assert (await world.remains(), await acts.lines(alice), await alice.available()) == (before, [], 20)


async def test_what_was_canceled_is_ordered_again_where_that_is_said(acts: Acts, alice: Member, bench: Bench) -> None:
    sleeping = await asleep(alice, bench)
    assert (await acts.do(f"generations/{sleeping}/cancel")).status_code == 200
    answer = await acts.do(f"generations/{sleeping}/retry", even_if_canceled=True)
    assert (answer.status_code, await alice.available()) == (202, 10), answer.text
    problem(await acts.do(f"generations/{sleeping}/retry"), 409, "generating")
    assert await acts.actions(alice) == ["cancel", "order_again"]


@pytest.mark.parametrize("said", [None, 1, "true", "yes", []])
async def test_only_true_means_even_if_canceled(acts: Acts, alice: Member, bench: Bench, said: Any) -> None:
    sleeping = await asleep(alice, bench)
    assert (await acts.do(f"generations/{sleeping}/cancel")).status_code == 200
    body = problem(await acts.do(f"generations/{sleeping}/retry", even_if_canceled=said), 422, "validation_failed")
    assert body["errors"][0]["pointer"] == "/even_if_canceled"
    assert await alice.available() == 20


async def test_the_contract_says_what_was_canceled_takes(acts: Acts) -> None:
    contract = (await acts.admin.http.get("/openapi.json")).json()
    how = contract["paths"]["/v1/admin/generations/{generation_id}/retry"]["post"]
    field = contract["components"]["schemas"]["Retry"]["properties"]["even_if_canceled"]
    assert "even_if_canceled" in how["description"]
    assert (field["type"], field["default"]) == ("boolean", False)
    assert "canceled" in field["description"]
    assert "Idempotency-Key" in {parameter["name"] for parameter in how["parameters"]}


async def test_it_costs_what_it_cost_the_first_time(
    acts: Acts, alice: Member, bench: Bench, settings: Settings
) -> None:
    ended = await failed(alice, bench)
    dearer = settings.replaced(prices={"image": 7, "video": 70})
    async with serving(dearer) as client_for:
        admin = client_for(acts.admin.key)
        answer = await admin.post(f"/v1/admin/generations/{ended}/retry", json={"reason": WHY})
        prices = (await admin.get("/v1/pricing")).json()["data"]
    assert {"operation": "image", "credits": 7} in prices
    assert answer.json()["credits"] == {"quoted": 5, "charged": 5, "refunded": 0}


async def test_without_the_credits_nothing_is_ordered(acts: Acts, alice: Member, bench: Bench, world: World) -> None:
    ended = await failed(alice, bench)
    assert (await acts.do(f"users/{alice.user.id}/credits", amount=-16)).status_code == 201
    before = await world.remains()
    body = problem(await acts.do(f"generations/{ended}/retry"), 402, "insufficient_credits")
    assert (body["required"], body["available"]) == (5, 4)
    assert await world.remains() == before
    assert await acts.actions(alice) == ["adjust_credits"]


async def test_nothing_is_ordered_for_the_deleted(
    acts: Acts, alice: Member, bench: Bench, db: Database, world: World
) -> None:
    erased, ended = await failed(alice, bench), await failed(alice, bench)
    project = (await acts.look(f"generations/{erased}"))["project_id"]
    assert (await alice.http.delete(f"/v1/projects/{project}")).status_code == 204
    before = await world.remains()
    problem(await acts.do(f"generations/{erased}/retry"), 409, "not_retryable")
    async with db.transaction() as transaction:
        await profiles.delete_user(transaction, LOCAL, str(alice.user.email))
    problem(await acts.do(f"generations/{ended}/retry"), 409, "user_deleted")
    problem(await acts.do(f"generations/{uuid4()}/retry"), 404, "not_found")
    assert (await world.remains(), await acts.lines(alice)) == (before, [])


async def test_no_line_no_order_and_no_waking(
    alice: Member, bench: Bench, db: Database, world: World, owner: Any
) -> None:
    ended, sleeping, nobody = await failed(alice, bench), await asleep(alice, bench), Decision(uuid4(), WHY)
    row = await owner.fetchrow("SELECT * FROM generations WHERE id = $1", ended)
    before = await world.remains(), await owner.fetchrow(WAITS, sleeping)
    wanted = again(alice, row)
    with pytest.raises(sa.exc.IntegrityError):
        await work.order_again(db, nobody, ended, wanted, row["project_id"])
    with pytest.raises(sa.exc.IntegrityError):
        await work.wake(db, nobody, sleeping)
    assert (await world.remains(), await owner.fetchrow(WAITS, sleeping)) == before
    assert (await alice.project(str(row["project_id"])))["status"] == "failed"
