"""An event that could not be applied at once is applied later, whoever tries it, and once."""

import asyncio
from typing import Any

import pytest

from tallyframe.db import Database
from tallyframe.errors import Unavailable
from tallyframe.webhooks.apply import apply_stored
from tallyframe.webhooks.base import Sources
from tallyframe.webhooks.receive import receive
from tests.conftest import ClientFor
from tests.support.clerk import BORN, SECRET, Clerk, deleted_event, user_event
from tests.support.jwks import AZP, JwksStub
from tests.support.postings import verdict
from tests.support.processes import Processes
from tests.support.remains import problem
from tests.support.telling import Shop, calls, effects, sold, the_event

CREATED = user_event("user.created")
SIGNED_UP = """
    SELECT count(*), count(a.id), count(e.id) FROM users u LEFT JOIN accounts a ON a.user_id = u.id
    LEFT JOIN ledger_entries e ON e.account_id = a.id WHERE u.issuer <> 'local'"""
DUE = "SELECT extract(epoch FROM due_at - now())::float FROM outbox WHERE kind = 'apply_webhook'"


async def break_down(owner: Any) -> None:
    await owner.execute("ALTER TABLE accounts ADD CONSTRAINT shut CHECK (false) NOT VALID")


async def mend(owner: Any) -> None:
    await owner.execute("ALTER TABLE accounts DROP CONSTRAINT shut")


async def failed_once(clerk: Clerk, owner: Any) -> Any:
    """Clerk has sent an event that could not be applied, and could be now; return its row."""
    await break_down(owner)
    problem(await clerk.send(CREATED, event_id="msg_1"), 500, "internal")
    row = await the_event(owner)
    assert (row["status"], row["attempts"], row["error"]) == ("received", 1, "IntegrityError 23514")
    assert await calls(owner) == [row["id"]]
    assert tuple(await owner.fetchrow(SIGNED_UP)) == (0, 0, 0)
    await mend(owner)
    return row


async def assert_applied_once(owner: Any, db: Database, *, attempts: int) -> None:
    row = await the_event(owner)
    assert (row["status"], row["attempts"], row["error"]) == ("applied", attempts, None)
    assert row["finished_at"] is not None
    assert await calls(owner) == []
    assert tuple(await owner.fetchrow(SIGNED_UP)) == (1, 1, 1)
    assert await verdict(db) == {}


async def test_by_the_function_of_a_worker(
    clerk: Clerk, owner: Any, db: Database, webhooks_db: Database, sources: Sources
) -> None:
    event_id = (await failed_once(clerk, owner))["id"]
    told = [await apply_stored(webhooks_db, sources, event_id) for _ in range(2)]
    assert [outcome and outcome.status for outcome in told] == ["applied", "replayed"]
    assert await clerk.tell(CREATED, event_id="msg_1") == "replayed"
    await assert_applied_once(owner, db, attempts=2)


async def test_by_the_next_try_of_the_sender(
    clerk: Clerk, owner: Any, db: Database, webhooks_db: Database, sources: Sources
) -> None:
    event_id = (await failed_once(clerk, owner))["id"]
    assert await clerk.tell(CREATED, event_id="msg_1") == "applied"
    outcome = await apply_stored(webhooks_db, sources, event_id)  # a ring that came late
    assert outcome is not None
    assert outcome.status == "replayed"
    await assert_applied_once(owner, db, attempts=2)


async def test_by_an_administrators_replay(
    clerk: Clerk, clients: ClientFor, owner: Any, db: Database, admin_key: str
) -> None:
    event_id = (await failed_once(clerk, owner))["id"]
    path = f"/v1/admin/webhooks/{event_id}/replay"
    answer = await clients(admin_key).post(path, json={"reason": "it is mended"})
    assert (answer.status_code, answer.json()["outcome"], answer.json()["status"]) == (200, "applied", "applied")
    assert await clerk.tell(CREATED, event_id="msg_1") == "replayed"
    await assert_applied_once(owner, db, attempts=2)
    [line] = await owner.fetch("SELECT action, user_id, reason FROM admin_log")
    assert tuple(line) == ("replay_webhook", None, "it is mended")


async def test_by_all_of_them_at_once(
    clerk: Clerk, owner: Any, db: Database, webhooks_db: Database, sources: Sources
) -> None:
    event_id = (await failed_once(clerk, owner))["id"]
    rung = [apply_stored(webhooks_db, sources, event_id) for _ in range(3)]
    sent = [clerk.tell(CREATED, event_id="msg_1") for _ in range(3)]
    outcomes = [outcome and outcome.status for outcome in await asyncio.gather(*rung)]
    told = [*outcomes, *await asyncio.gather(*sent)]
    assert sorted(map(str, told)) == ["applied"] + ["replayed"] * 5
    await assert_applied_once(owner, db, attempts=2)


async def test_by_a_worker_process(
    clerk: Clerk, issuer: JwksStub, owner: Any, db: Database, processes: Processes
) -> None:
    await failed_once(clerk, owner)
    await owner.execute("UPDATE outbox SET due_at = now()")
    setup = {"TALLYFRAME_AUTH_ISSUER": issuer.issuer, "TALLYFRAME_AUTH_AUTHORIZED_PARTIES": AZP}
    worker = await processes.worker(**setup, CLERK_WEBHOOK_SIGNING_SECRET=SECRET)
    while await calls(owner):
        assert worker.popen.poll() is None, worker.text
        await asyncio.sleep(0.02)
    await assert_applied_once(owner, db, attempts=2)


async def test_what_clerk_tells_can_all_be_applied_by_a_worker(
    owner: Any, db: Database, webhooks_db: Database, sources: Sources, clerk: Clerk, clients: ClientFor
) -> None:
    """The role that workers apply webhooks as may do what the sources need."""
    told = [CREATED, user_event("user.updated", at=BORN + 1, first_name="Augusta"), deleted_event()]
    for number, event in enumerate(told):
        await owner.execute("ALTER TABLE users ADD CONSTRAINT shut CHECK (false) NOT VALID")
        problem(await clerk.send(event, event_id=f"msg_{number}"), 500, "internal")
        await owner.execute("ALTER TABLE users DROP CONSTRAINT shut")
        [event_id] = await calls(owner)
        outcome = await apply_stored(webhooks_db, sources, event_id)
        assert outcome is not None
        assert outcome.status == "applied", event
    row = await owner.fetchrow("SELECT email, deleted_at IS NOT NULL AS gone FROM users WHERE subject = 'user_1'")
    assert tuple(row) == (None, True)
    assert await verdict(db) == {}


async def test_a_process_that_ends_in_between_leaves_it_to_a_worker(db: Database, owner: Any) -> None:
    reached = asyncio.Event()

    async def hang(_: Any) -> None:
        reached.set()
        await asyncio.sleep(60)

    shop, body = Shop(meanwhile=hang), sold()
    request = asyncio.create_task(receive(db, shop.sources, "shop", shop.signed(body), body))
    await reached.wait()
    request.cancel()
    await asyncio.gather(request, return_exceptions=True)
    row = await the_event(owner)
    assert (row["status"], row["attempts"], await effects(owner)) == ("received", 0, 0)
    assert await calls(owner) == [row["id"]]
    shop.meanwhile = None
    outcome = await apply_stored(db, shop.sources, row["id"])
    assert outcome is not None
    assert (outcome.status, await effects(owner), await calls(owner)) == ("applied", 1, [])


async def test_the_database_away_in_between_is_a_503_and_the_next_try_works(
    clerk: Clerk, owner: Any, db: Database
) -> None:
    cut = """
        SELECT pg_terminate_backend(pid) FROM pg_stat_clear_snapshot(), pg_locks
        WHERE NOT granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    async with owner.transaction():
        await owner.execute("LOCK TABLE users IN ACCESS EXCLUSIVE MODE")
        sending = asyncio.create_task(clerk.send(CREATED, event_id="msg_1"))
        while not await owner.fetch(cut):
            await asyncio.sleep(0.02)
        problem(await sending, 503, "unavailable")
    row = await the_event(owner)
    assert (row["status"], row["error"].split(":")[0]) == ("received", "DatabaseAway")
    assert await clerk.tell(CREATED, event_id="msg_1") == "applied"
    await assert_applied_once(owner, db, attempts=2)


async def test_workers_try_less_and_less_often_and_go_on(db: Database, owner: Any) -> None:
    shop, body = Shop(fails=[RuntimeError("a bug")] * 9), sold()
    with pytest.raises(RuntimeError):
        await receive(db, shop.sources, "shop", shop.signed(body), body)
    [event_id] = await calls(owner)
    pauses = [await owner.fetchval(DUE)]
    for _ in range(8):
        await owner.execute("UPDATE outbox SET rings = 7")
        assert await apply_stored(db, shop.sources, event_id) is None
        pauses.append(await owner.fetchval(DUE))
    assert [round(pause / 30) for pause in pauses] == [1, 2, 4, 8, 16, 32, 64, 120, 120]
    row = await the_event(owner)
    assert (row["status"], row["attempts"], row["error"]) == ("received", 9, "RuntimeError")
    assert await effects(owner) == 0
    assert await apply_stored(db, shop.sources, event_id) is not None
    assert (await effects(owner), await calls(owner)) == (1, [])


async def test_an_error_says_nothing_of_what_was_sent(db: Database, owner: Any) -> None:
    shop, body = Shop(fails=[RuntimeError("ada@example.org"), Unavailable()]), sold()
    said = []
    for _ in range(2):
        with pytest.raises((RuntimeError, Unavailable)):
            await receive(db, shop.sources, "shop", shop.signed(body), body)
        said.append((await the_event(owner))["error"])
    assert said == ["RuntimeError", f"Unavailable: {Unavailable().detail}"]


async def test_a_source_that_is_no_longer_set_up_keeps_its_events(db: Database, owner: Any) -> None:
    shop, body = Shop(fails=[RuntimeError("a bug")]), sold()
    with pytest.raises(RuntimeError):
        await receive(db, shop.sources, "shop", shop.signed(body), body)
    [event_id] = await calls(owner)
    assert await apply_stored(db, {}, event_id) is None
    assert (await the_event(owner))["error"] == "SourceNotSetUp"
    assert await calls(owner) == [event_id]
    assert await apply_stored(db, shop.sources, event_id) is not None
    assert await effects(owner) == 1


async def test_a_call_for_an_event_that_is_gone_ends(db: Database, owner: Any) -> None:
    shop, body = Shop(fails=[RuntimeError("a bug")]), sold()
    with pytest.raises(RuntimeError):
        await receive(db, shop.sources, "shop", shop.signed(body), body)
    [event_id] = await calls(owner)
    await owner.execute("DELETE FROM webhook_events")
    assert await apply_stored(db, shop.sources, event_id) is not None
    assert (await calls(owner), await effects(owner)) == ([], 0)
