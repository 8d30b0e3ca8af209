"""An operation that asks for steps by several calls at once is refused before any of them is placed."""

import asyncio
from traceback import format_exception
from typing import Any
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from tallyframe.db import Database
from tallyframe.operations.base import Context, Result
from tallyframe.providers.base import Answer, TextTask, Ticket
from tests.operations.buying import buy, receipt
from tests.operations.dropped.note import Note, NoteInput, Words
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.scripted import QUICKLY, Scripted, among
from tests.support.working import Bench

STEPS = "SELECT name, state FROM generation_steps ORDER BY name"
REFUSED = "asked for by one call of context.steps()"


def task(name: str) -> TextTask[Words]:
    return TextTask("Write.", name, Words)


async def gathered(context: Context) -> None:
    await asyncio.gather(*(context.step(name, task(name)) for name in "abc"))


async def grouped(context: Context) -> None:
    async with asyncio.TaskGroup() as group:
        for name in "abc":
            group.create_task(context.step(name, task(name)))


async def swallowed(context: Context) -> None:
    await asyncio.gather(*(context.step(name, task(name)) for name in "abc"), return_exceptions=True)
    await context.step("d", task("d"))


def runs(monkeypatch: pytest.MonkeyPatch, *parts: Any) -> None:
    async def run(_self: Note, _order: NoteInput, context: Context) -> Result:
        for part in parts:
            await part(context)
        return Result(data={"titles": []})

    monkeypatch.setattr(Note, "run", run)


@pytest.mark.parametrize("way", [gathered, grouped, swallowed])
async def test_nothing_is_placed(
    way: Any, alice: Member, bench: Bench, db: Database, owner: Any, monkeypatch: Any
) -> None:
    runs(monkeypatch, way)
    made = await buy(alice, "note", topic="a cup")
    vendor = Scripted("vendor")
    with capture_logs() as logs:
        assert await bench.runner(providers=among(vendor), retry=QUICKLY).run(UUID(made["id"])) == "failed"
    assert vendor.orders == 0
    assert await owner.fetch(STEPS) == []
    assert (await receipt(alice, made))["error"]["code"] == "internal"
    [bug] = [each["exc_info"] for each in logs if each["event"] == "generation_crashed"]
    assert REFUSED in "".join(format_exception(bug))
    assert await assert_books_balance(db, owner) == {"failed": 1}


async def test_nothing_more_is_placed_after_steps_that_were_asked_for_in_turn(
    alice: Member, bench: Bench, db: Database, owner: Any, monkeypatch: Any
) -> None:
    async def first(context: Context) -> None:
        await context.step("first", task("first"))

    runs(monkeypatch, first, gathered)
    made = await buy(alice, "note", topic="a cup")
    vendor = Scripted("vendor")
    assert await bench.runner(providers=among(vendor), retry=QUICKLY).run(UUID(made["id"])) == "failed"
    assert vendor.orders == 1
    assert [tuple(row) for row in await owner.fetch(STEPS)] == [("first", "done")]
    assert await assert_books_balance(db, owner) == {"failed": 1}


async def test_an_order_that_is_under_way_by_then_keeps_its_ticket(
    alice: Member, bench: Bench, db: Database, owner: Any, monkeypatch: Any
) -> None:
    asked, answered = asyncio.Event(), asyncio.Event()

    async def answer() -> Answer:
        asked.set()
        await answered.wait()
        return Ticket("late", 60)

    async def later(context: Context) -> None:
        first = asyncio.create_task(context.step("a", task("a")))
        await asked.wait()
        try:
            await context.step("b", task("b"))
        finally:
            answered.set()
            await asyncio.wait({first})

    runs(monkeypatch, later)
    made = await buy(alice, "note", topic="a cup")
    vendor = Scripted("vendor", make=[answer])
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    assert await runner.run(UUID(made["id"])) == "failed"
    await runner.dependencies.detached.aclose()
    assert vendor.orders == 1
    assert [tuple(row) for row in await owner.fetch(STEPS)] == [("a", "ticket")]
    assert await owner.fetchval("SELECT count(*) FROM outbox WHERE kind = 'withdraw'") == 1
    assert await assert_books_balance(db, owner) == {"failed": 1}
