"""An order for a project and the project's deletion at once: one of the two is refused, in whatever order they come.

No paid generation stays live on a deleted project. Who is first is made to wait, in the middle of its statement, by a
lock of the test's.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import httpx
import pytest

from tallyframe.db import Database
from tests.conftest import ClientFor, enroll, owner_of
from tests.operations.buying import ask_for, buy
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.remains import problem
from tests.support.scripted import QUICKLY, Scripted, among, final
from tests.support.working import Bench

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
LIVE_ON_DELETED = """
    SELECT count(*) FROM generations g JOIN projects p ON p.id = g.project_id
    WHERE g.finished_at IS NULL AND p.deleted_at IS NOT NULL"""
ACCOUNT = "SELECT FROM accounts WHERE id = $1 FOR UPDATE"
#: The deletion writes the same row of the outbox, and so waits for whoever has written it.
CALL = "INSERT INTO outbox (kind, ref, due_at) VALUES ('erase_project', $1, now())"

Ask = Callable[[], Awaitable[httpx.Response]]


@pytest.fixture
async def admin(db: Database, client_for: ClientFor) -> Member:
    return await enroll(db, client_for, "admin@example.com", 0, admin=True)


@pytest.fixture(params=["another slot", "the main slot", "again", "retry in another slot", "retry in the main slot"])
async def meeting(request: Any, rich: Member, admin: Member, bench: Bench) -> tuple[str, Ask]:
    """A project whose generations have ended, and an order for it."""
    failing = bench.runner(providers=among(Scripted("vendor", make=[final(), final()])), retry=QUICKLY)
    project = await rich.order("a cup")
    project_id: str = project["id"]
    assert await failing.run(UUID(project["generation"]["id"])) == "failed"
    note = await buy(rich, "note", project_id, topic="a cup")
    assert await failing.run(UUID(note["id"])) == "failed"

    def retry(generation: dict[str, Any]) -> Awaitable[httpx.Response]:
        return admin.http.post(f"/v1/admin/generations/{generation['id']}/retry", json={"reason": "a test"})

    orders: dict[str, Ask] = {
        "another slot": lambda: ask_for(rich, "note", project_id, topic="a cup"),
        "the main slot": lambda: ask_for(rich, "image", project_id, prompt="a cup"),
        "again": lambda: rich.http.post(f"/v1/projects/{project_id}/regenerate"),
        "retry in another slot": lambda: retry(note),
        "retry in the main slot": lambda: retry(project["generation"]),
    }
    return project_id, orders[request.param]


async def waiting_or_done(owner: Any, waiting: int, task: "asyncio.Task[httpx.Response]") -> None:
    """Wait until so many statements wait for a lock, or the task has its answer."""
    async with asyncio.timeout(20):
        while await owner.fetchval(WAITING) < waiting and not task.done():
            await asyncio.sleep(0.01)


async def test_an_order_that_is_first_keeps_the_project(
    meeting: tuple[str, Ask], rich: Member, owner: Any, database_url: str, db: Database, bench: Bench
) -> None:
    project_id, ask = meeting
    async with owner_of(database_url) as another, another.transaction():
        await another.execute(ACCOUNT, rich.user.account_id)
        ordering = asyncio.ensure_future(ask())
        await waiting_or_done(owner, 1, ordering)  # it has its generation, and waits to be debited
        deleting = asyncio.create_task(rich.http.delete(f"/v1/projects/{project_id}"))
        await waiting_or_done(owner, 2, deleting)
    ordered, deleted = await asyncio.gather(ordering, deleting)
    assert ordered.status_code == 202, ordered.text
    problem(deleted, 409, "generating")
    assert await owner.fetchval(LIVE_ON_DELETED) == 0
    assert await bench.drain(bench.with_provider(Scripted("vendor"))) == ["succeeded"]
    await assert_books_balance(db, owner)


async def test_a_deletion_that_is_first_refuses_the_order(
    meeting: tuple[str, Ask], rich: Member, owner: Any, database_url: str, db: Database
) -> None:
    project_id, ask = meeting
    before = await rich.available()
    async with owner_of(database_url) as another:
        transaction = another.transaction()
        await transaction.start()
        await another.execute(CALL, UUID(project_id))
        deleting = asyncio.create_task(rich.http.delete(f"/v1/projects/{project_id}"))
        await waiting_or_done(owner, 1, deleting)  # the project is deleted, and nobody sees it yet
        ordering = asyncio.ensure_future(ask())
        await waiting_or_done(owner, 2, ordering)
        await transaction.rollback()
    deleted, ordered = await asyncio.gather(deleting, ordering)
    assert deleted.status_code == 204, deleted.text
    assert ordered.status_code in {404, 409}, ordered.text
    assert await owner.fetchval(LIVE_ON_DELETED) == 0
    assert await rich.available() == before
    await assert_books_balance(db, owner)
