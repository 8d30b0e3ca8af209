"""GET /v1/admin/stats after real orders: what waits, who works, and what came of test cards."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import httpx
import pytest

from tallyframe.db import Database
from tallyframe.reports.load import OVERDUE
from tallyframe.workers.heartbeat import SILENCE, Heartbeat
from tests.conftest import ClientFor, enroll
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.working import Bench

EMPTY = {"pending": 0, "due": 0, "waiting": 0, "processing": 0, "oldest_pending_seconds": None, "outbox_overdue": 0}


@pytest.fixture
async def admin(db: Database, client_for: ClientFor) -> Member:
    return await enroll(db, client_for, "admin@example.com", 0, admin=True)


async def stats(admin: Member) -> dict[str, Any]:
    answer = await admin.http.get("/v1/admin/stats")
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def until(admin: Member, condition: Callable[[dict[str, Any]], bool], seconds: float = 30) -> dict[str, Any]:
    end = monotonic() + seconds
    while not condition(body := await stats(admin)):
        assert monotonic() < end, body
        await asyncio.sleep(0.05)
    return body


async def gauge(anybody: httpx.AsyncClient, name: str) -> float:
    lines = (await anybody.get("/metrics")).text.splitlines()
    return float(next(line for line in lines if line.startswith(f"{name} ")).split()[1])


async def test_orders_with_test_cards_worked_out_by_hand(
    admin: Member, alice: Member, bob: Member, bench: Bench, db: Database, owner: Any
) -> None:
    await alice.order("[flaky:1] a cup")
    await alice.order("[fail:content_policy] a cup")
    await alice.order("[empty] a film", kind="video", duration_seconds=1)
    canceled = await bob.order("a cup")
    await bob.http.post(f"/v1/projects/{canceled['id']}/cancel")
    await bench.drain()
    await bob.order("a cup")
    body = await stats(admin)
    total = body["total"]
    counts = {"pending": 1, "processing": 0, "succeeded": 1, "failed": 2, "canceled": 1}
    assert {name: total[name] for name in counts} == counts
    assert total["shares"] == {name: number / 5 for name, number in counts.items()}
    assert total["success_rate"] == pytest.approx(1 / 3)
    money = {"charged": 30, "refunded": 20, "kept": 10, "refund_rate": 1.0}
    assert {name: total[name] for name in money} == money
    providers = [(each["operation"], each["provider"], each["numbers"]["accepted"]) for each in body["providers"]]
    assert providers == [("image", "offline", 2), ("image", None, 2), ("video", "offline", 1)]
    image, video = body["operations"]
    times = image["times"]
    assert times["average"] == times["p50"] == times["p95"] > 0
    assert 0 < times["pickup_average"] <= times["pickup_p95"]
    assert (video["times"]["average"], video["times"]["pickup_average"] > 0) == (None, True)
    codes = [tuple(each.values()) for each in body["failures"]]
    assert codes == [("image", "content_policy", 1), ("video", "provider_rejected", 1)]
    await assert_failures(body["recent_failures"], owner)
    assert body["queue"] == {**EMPTY, "pending": 1, "due": 1, "oldest_pending_seconds": pytest.approx(30, abs=30)}
    await assert_books_balance(db, owner)


async def assert_failures(found: list[dict[str, Any]], owner: Any) -> None:
    words = {each["error_code"]: each["operator_message"] for each in found}
    assert words == {"content_policy": "Test card [fail:content_policy].", "provider_rejected": "Test card [empty]."}
    for each in found:
        query = "SELECT id, amount FROM ledger_entries WHERE kind = 'refund' AND generation_id = $1"
        refund = await owner.fetchrow(query, UUID(each["generation_id"]))
        assert (each["refund_entry_id"], each["refunded"]) == (str(refund["id"]), refund["amount"])
        assert each["charged"] == each["refunded"] > 0


async def test_nothing_waits_and_nobody_works(admin: Member) -> None:
    body = await stats(admin)
    assert body["queue"] == EMPTY
    assert body["workers"] == {"count": 0, "slots": 0, "busy": 0, "use": None, "each": []}


async def test_what_waits_for_its_time_is_not_due(admin: Member, alice: Member, owner: Any) -> None:
    for _ in range(3):
        await alice.order()
    await owner.execute("UPDATE generations SET wake_at = now() + interval '1 hour' WHERE id = $1", await one(owner))
    assert (await stats(admin))["queue"] | {"oldest_pending_seconds": None} == {
        **EMPTY,
        "pending": 3,
        "due": 2,
        "waiting": 1,
    }
    await owner.execute("UPDATE generations SET wake_at = now() - interval '1 second' WHERE wake_at IS NOT NULL")
    assert [(await stats(admin))["queue"][name] for name in ("due", "waiting")] == [3, 0]


async def test_the_oldest_pending_tells_how_long_users_wait(admin: Member, alice: Member, owner: Any) -> None:
    await alice.order()
    await alice.order()
    await owner.execute("UPDATE generations SET created_at = now() - interval '500 s' WHERE id = $1", await one(owner))
    assert 500 <= (await stats(admin))["queue"]["oldest_pending_seconds"] < 600


async def test_what_nobody_enqueues_is_overdue_and_generations_are_never_enqueued(
    admin: Member, alice: Member, owner: Any
) -> None:
    await alice.order()
    await owner.execute("INSERT INTO outbox (kind, ref) SELECT 'withdraw', id FROM generations")
    for seconds, overdue in ((2, 0), (0, 0), (-OVERDUE - 1, 1)):
        await owner.execute("UPDATE outbox SET due_at = now() + make_interval(secs => $1)", seconds)
        assert (await stats(admin))["queue"]["outbox_overdue"] == overdue


async def one(owner: Any) -> Any:
    return await owner.fetchval("SELECT id FROM generations ORDER BY id LIMIT 1")


async def test_a_running_order_keeps_a_slot_busy(
    admin: Member, alice: Member, bench: Bench, worker_db: Database, anybody: httpx.AsyncClient
) -> None:
    runner = bench.runner()
    await Heartbeat(worker_db, runner.worker, 4).renew()
    await Heartbeat(worker_db, "elsewhere:1", 6).renew()
    await alice.order("[hang:600] a cup")
    running = asyncio.create_task(runner.run((await bench.due())[0]))
    body = await until(admin, lambda body: body["workers"]["busy"] > 0)
    assert body["workers"]["use"] == 0.1
    assert [body["workers"][name] for name in ("count", "slots", "busy")] == [2, 10, 1]
    busy = {each["name"]: (each["slots"], each["busy"]) for each in body["workers"]["each"]}
    assert busy == {runner.worker: (4, 1), "elsewhere:1": (6, 0)}
    assert [body["queue"][name] for name in ("pending", "processing")] == [0, 1]
    assert await gauge(anybody, "tallyframe_worker_slots_busy") == 1
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    body = await until(admin, lambda body: body["workers"]["busy"] == 0)
    assert body["queue"]["processing"] == 1
    assert await gauge(anybody, "tallyframe_worker_slots_busy") == 0


async def test_an_order_that_waits_for_its_ticket_keeps_no_slot(
    admin: Member, alice: Member, bench: Bench, worker_db: Database
) -> None:
    runner = bench.runner()
    await Heartbeat(worker_db, runner.worker, 4).renew()
    await alice.order("[delay:600] a cup")
    assert await runner.run((await bench.due())[0]) == "snoozed"
    body = await stats(admin)
    assert (body["workers"]["busy"], body["workers"]["use"]) == (0, 0)
    assert [body["queue"][name] for name in ("pending", "processing")] == [0, 1]


async def test_a_lease_that_has_run_out_keeps_no_slot(
    admin: Member, alice: Member, bench: Bench, worker_db: Database, owner: Any
) -> None:
    await Heartbeat(worker_db, "host:1", 4).renew()
    await alice.order()
    taken = "UPDATE generations SET status = 'processing', worker = 'host:1', lease_until = now() + $1::interval"
    for seconds, busy in ((60, 1), (-1, 0)):
        await owner.execute(taken, timedelta(seconds=seconds))
        assert (await stats(admin))["workers"]["busy"] == busy


async def test_the_slots_of_a_worker_that_is_gone_are_gone(
    admin: Member, alice: Member, worker_db: Database, owner: Any, anybody: httpx.AsyncClient
) -> None:
    await Heartbeat(worker_db, "host:1", 4).renew()
    await alice.order()
    hold = "UPDATE generations SET status = 'processing', worker = 'host:1', lease_until = now() + interval '1 hour'"
    await owner.execute(hold)
    await owner.execute("UPDATE workers SET seen_at = now() - make_interval(secs => $1)", SILENCE + 1)
    body = await stats(admin)
    assert body["workers"] == {"count": 0, "slots": 0, "busy": 0, "use": None, "each": []}
    assert await gauge(anybody, "tallyframe_workers") == 0
