"""What is stored of a person goes with the person; what is stored of others stays, and so do the events' rows."""

import asyncio
from typing import Any

import pytest

from tallyframe.accounts import profiles
from tallyframe.db import Database
from tallyframe.webhooks import received
from tallyframe.webhooks.apply import apply_stored
from tallyframe.webhooks.base import Sources
from tallyframe.webhooks.received import prune
from tests.support.clerk import BORN, Clerk, deleted_event, user_event
from tests.support.telling import Shop, calls, waiting_event

ROWS = "SELECT event_id, status, body IS NULL AS erased, headers::text, error FROM webhook_events ORDER BY received_at"


async def rows(owner: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await owner.fetch(ROWS)]


async def test_all_that_was_told_of_a_deleted_user_is_erased(clerk: Clerk, owner: Any) -> None:
    await clerk.tell(user_event("user.created"), event_id="msg_1")
    await clerk.tell(user_event("user.updated", at=BORN + 1), event_id="msg_2")
    await clerk.tell(user_event("user.created", "user_2"), event_id="msg_3")
    await clerk.tell(deleted_event(), event_id="msg_4")
    assert [(name, status, erased) for name, status, erased, *_ in await rows(owner)] == [
        ("msg_1", "applied", True),
        ("msg_2", "applied", True),
        ("msg_3", "applied", False),
        ("msg_4", "applied", True),
    ]
    assert [headers for _, _, erased, headers, _ in await rows(owner) if erased] == ["{}"] * 3
    assert "ada@example.org" not in repr(await owner.fetch("SELECT * FROM webhook_events WHERE subject = 'user_1'"))


async def test_what_comes_after_the_deletion_is_not_kept_either(clerk: Clerk, owner: Any) -> None:
    await clerk.tell(deleted_event(), event_id="msg_1")
    assert await clerk.tell(user_event("user.updated", at=BORN + 1), event_id="msg_2") == "ignored"
    assert await clerk.tell(user_event("user.updated", at=BORN + 1), event_id="msg_2") == "replayed"
    assert await clerk.tell(deleted_event(), event_id="msg_3") == "ignored"
    told = [("msg_1", "applied"), ("msg_2", "ignored"), ("msg_3", "ignored")]
    assert await rows(owner) == [(name, status, True, "{}", None) for name, status in told]


async def test_what_has_yet_to_be_applied_is_erased_and_never_is(
    clerk: Clerk, owner: Any, webhooks_db: Database, sources: Sources
) -> None:
    await owner.execute("ALTER TABLE accounts ADD CONSTRAINT shut CHECK (false)")
    assert (await clerk.send(user_event("user.created"), event_id="msg_1")).status_code == 500
    [event_id] = await calls(owner)
    assert await clerk.tell(deleted_event(), event_id="msg_2") == "applied"
    await owner.execute("ALTER TABLE accounts DROP CONSTRAINT shut")
    outcome = await apply_stored(webhooks_db, sources, event_id)
    assert outcome is not None
    assert (outcome.status, await calls(owner)) == ("replayed", [])
    assert await clerk.tell(user_event("user.created"), event_id="msg_1") == "replayed"
    assert await rows(owner) == [("msg_1", "ignored", True, "{}", None), ("msg_2", "applied", True, "{}", None)]
    assert await owner.fetchval("SELECT count(*) FROM accounts") == 0


async def test_whatever_arrives_with_the_deletion_is_erased_and_nobody_waits_for_each_other(
    clerk: Clerk, owner: Any
) -> None:
    for number in range(20):
        subject = f"user_{number}"
        events = [user_event("user.created", subject), deleted_event(subject), deleted_event(subject)]
        events += [user_event("user.updated", subject, BORN + later) for later in range(3)]
        answers = await asyncio.gather(*(clerk.send(event) for event in events))
        assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    left = "SELECT count(*) FILTER (WHERE body IS NOT NULL) AS kept, count(*) AS stored FROM webhook_events"
    assert tuple(await owner.fetchrow(left)) == (0, 120)


async def test_news_of_a_user_who_is_deleted_before_they_are_kept(
    clerk: Clerk, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clerk.tell(user_event("user.created"), event_id="msg_1")
    update = profiles.update

    async def update_late(*args: Any) -> bool:
        assert await clerk.tell(deleted_event(), event_id="msg_3") == "applied"
        return await update(*args)

    monkeypatch.setattr(profiles, "update", update_late)
    assert await clerk.tell(user_event("user.updated", at=BORN + 1), event_id="msg_2") == "ignored"
    assert all(erased for _, _, erased, *_ in await rows(owner))


async def test_a_deletion_that_comes_while_old_news_are_ignored(
    clerk: Clerk, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    await clerk.tell(user_event("user.created", at=BORN + 1), event_id="msg_1")
    finish, deletions = received.finish, list[asyncio.Task[str]]()

    async def finish_late(*args: Any) -> None:
        if not deletions:
            deletions.append(asyncio.create_task(clerk.tell(deleted_event(), event_id="msg_3")))
            while not deletions[0].done() and not await owner.fetchval("SELECT bool_or(NOT granted) FROM pg_locks"):
                await asyncio.sleep(0.01)
        await finish(*args)

    monkeypatch.setattr(received, "finish", finish_late)
    assert await clerk.tell(user_event("user.updated", at=BORN), event_id="msg_2") == "ignored"
    assert await deletions[0] == "applied"
    assert all(erased for _, _, erased, *_ in await rows(owner))


async def test_what_waits_to_be_applied_is_not_pruned(db: Database, worker_db: Database, owner: Any) -> None:
    waiting, applied = [await waiting_event(owner, age=age) for age in ("400 days", "31 days")]
    assert await apply_stored(db, Shop().sources, applied) is not None
    assert await prune(worker_db, days=30) == 1
    assert await owner.fetchval("SELECT id FROM webhook_events") == waiting


@pytest.mark.parametrize("subject", [None, 7, "", "u" * 256, "user\x00", {"id": "x"}])
async def test_an_odd_subject_is_kept_without_one(clerk: Clerk, owner: Any, subject: Any) -> None:
    event = user_event("user.created")
    event["data"]["id"] = subject
    assert (await clerk.send(event)).status_code == 422
    assert tuple(await owner.fetchrow("SELECT status, subject FROM webhook_events")) == ("received", None)
