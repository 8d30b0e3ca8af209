"""Cancel and wake: each with its line in the log, or neither is done."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest
import sqlalchemy as sa

from tallyframe.accounts import profiles
from tallyframe.accounts.users import LOCAL
from tallyframe.admin import work
from tallyframe.admin.log import Decision
from tallyframe.db import Database
from tallyframe.generations.run import lease
from tallyframe.outbox.relay import connect, take_wake_up
from tallyframe.settings import Settings
from tests.admin.conftest import WHY, Acts
from tests.admin.orders import WAITS, asleep, calls, failed, order, run
from tests.support.cast import Member
from tests.support.remains import problem
from tests.support.scripted import Scripted, failing
from tests.support.shared import shared_database
from tests.support.working import Bench

database_url = shared_database("test_admin_work")


async def woken(settings: Settings) -> bool:
    """Whether a worker would be woken; forgotten by that."""
    queue = connect(settings.server.redis_url.get_secret_value())
    try:
        return await take_wake_up(queue)
    finally:
        await queue.aclose(close_connection_pool=True)


async def test_canceled_with_the_credits_back_and_the_vendor_told(
    acts: Acts, alice: Member, bench: Bench, owner: Any
) -> None:
    generation_id = await asleep(alice, bench)
    answer = await acts.do(f"generations/{generation_id}/cancel")
    assert answer.status_code == 200, answer.text
    body = answer.json()
    assert (body["status"], body["credits"]) == ("canceled", {"quoted": 10, "charged": 10, "refunded": 10})
    assert body["error"]["message"] == work.CANCELED
    assert await alice.available() == 20
    assert await calls(owner, generation_id) == ["withdraw"]
    [line] = await acts.lines(alice)
    assert (line["action"], line["admin_id"]) == ("cancel", acts.admin.user.id)
    assert (line["user_id"], line["generation_id"], line["reason"]) == (alice.user.id, generation_id, WHY)
    # The user reads that it was canceled, and not why.
    project = await alice.project(body["project_id"])
    assert (project["status"], project["error"]["message"]) == ("canceled", work.CANCELED)
    assert WHY not in str(await alice.entries())


async def test_what_has_ended_cannot_be_canceled(acts: Acts, alice: Member, bench: Bench) -> None:
    generation_id = await failed(alice, bench)
    problem(await acts.do(f"generations/{generation_id}/cancel"), 409, "not_cancelable")
    problem(await acts.do(f"generations/{uuid4()}/cancel"), 404, "not_found")
    assert await acts.lines(alice) == []


async def test_of_many_who_cancel_at_once_one_does(acts: Acts, alice: Member) -> None:
    generation_id = await order(alice)
    answers = await asyncio.gather(*(acts.do(f"generations/{generation_id}/cancel") for _ in range(6)))
    assert sorted(answer.status_code for answer in answers) == [200, *[409] * 5]
    assert await acts.actions(alice) == ["cancel"]
    assert await alice.available() == 20


async def test_the_user_and_an_administrator_cancel_at_once(acts: Acts, alice: Member) -> None:
    project = await alice.order()
    generation_id = project["generation"]["id"]
    ours, theirs = await asyncio.gather(
        acts.do(f"generations/{generation_id}/cancel"), alice.http.post(f"/v1/projects/{project['id']}/cancel")
    )
    assert sorted([ours.status_code, theirs.status_code]) == [200, 409]
    assert await acts.actions(alice) == (["cancel"] if ours.status_code == 200 else [])


async def test_no_line_no_cancel(alice: Member, db: Database, owner: Any) -> None:
    generation_id = await order(alice)
    with pytest.raises(sa.exc.IntegrityError):
        await work.cancel(db, Decision(uuid4(), WHY), generation_id)
    assert await owner.fetchval("SELECT status FROM generations WHERE id = $1", generation_id) == "pending"
    assert await alice.available() == 15


async def test_what_waits_is_woken_and_its_ticket_asked_for(
    acts: Acts, alice: Member, bench: Bench, owner: Any, settings: Settings
) -> None:
    generation_id = await asleep(alice, bench)
    before = await owner.fetchrow(WAITS, generation_id)
    assert await woken(settings)  # when it was ordered
    answer = await acts.do(f"generations/{generation_id}/retry")
    assert answer.status_code == 202, answer.text
    assert answer.headers["location"] == f"/v1/admin/generations/{generation_id}"
    assert (answer.json()["id"], answer.json()["status"]) == (str(generation_id), "processing")
    after = await owner.fetchrow(WAITS, generation_id)
    assert (before[0], after[0]) == (False, True)
    assert tuple(before)[1:] == tuple(after)[1:]
    assert await owner.fetchval("SELECT due_at <= now() FROM outbox WHERE ref = $1", generation_id)
    assert await woken(settings)
    assert await acts.actions(alice) == ["wake"]
    vendor = Scripted("vendor")
    assert await run(bench, vendor, generation_id) == "succeeded"
    assert (vendor.asked, vendor.orders, await alice.available()) == (["a-ticket"], 0, 10)


async def test_a_long_pause_before_a_retry_is_cut_short(acts: Acts, alice: Member, bench: Bench, owner: Any) -> None:
    generation_id = await order(alice)
    vendor = Scripted("vendor", make=[failing(retry_after=59.0)])
    assert await run(bench, vendor, generation_id) == "retried"
    assert await run(bench, vendor, generation_id) == "not_taken"
    assert (await acts.do(f"generations/{generation_id}/retry")).status_code == 202
    await owner.execute("TRUNCATE provider_circuits")  # the vendor's pause is another matter
    assert await run(bench, vendor, generation_id) == "succeeded"


async def test_what_nobody_has_taken_up_yet_is_rung_again(acts: Acts, alice: Member, bench: Bench, owner: Any) -> None:
    generation_id = await order(alice)
    await owner.execute("TRUNCATE outbox")
    assert (await acts.do(f"generations/{generation_id}/retry")).status_code == 202
    assert await owner.fetchval("SELECT wake_at IS NULL FROM generations WHERE id = $1", generation_id)
    assert await run(bench, Scripted("vendor"), (await bench.due())[0]) == "succeeded"


async def test_what_a_worker_runs_is_left_alone(
    acts: Acts, alice: Member, db: Database, worker_db: Database, owner: Any
) -> None:
    generation_id = await order(alice)
    claim = await lease.claim(worker_db, lease.Holder("somebody", 60), generation_id)
    assert claim
    problem(await acts.do(f"generations/{generation_id}/retry"), 409, "not_retryable")
    assert (await acts.lines(alice), await calls(owner, generation_id)) == ([], [])
    assert await lease.renew(db, claim, lease_seconds=60)
    # Once the lease has run out, it waits to be found: that may be now.
    await owner.execute("UPDATE generations SET lease_until = now() - interval '1 s' WHERE id = $1", generation_id)
    assert (await acts.do(f"generations/{generation_id}/retry")).status_code == 202
    assert await calls(owner, generation_id) == ["run_generation"]
    assert await owner.fetchval("SELECT wake_at IS NULL FROM generations WHERE id = $1", generation_id)


async def test_the_deleted_get_back_what_still_ran(acts: Acts, alice: Member, db: Database, owner: Any) -> None:
    generation_id = await order(alice)
    async with db.transaction() as transaction:
        await profiles.delete_user(transaction, LOCAL, str(alice.user.email))
    assert (await acts.do(f"generations/{generation_id}/cancel")).status_code == 200
    balance = "SELECT balance FROM accounts WHERE user_id = $1"
    assert await owner.fetchval(balance, alice.user.id) == 20
