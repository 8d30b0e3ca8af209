"""The log of vendor calls holds no secret, loses no answer when it can't be written, and is tidied."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest

from tallyframe.calls import gate as calls_gate, sweep
from tallyframe.calls.gate import Record
from tallyframe.calls.sweep import abandon_lost, prune, tidy
from tallyframe.embedded import Servers
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Usage
from tallyframe.settings import load_settings
from tallyframe.settings.values import VendorPrice
from tests.conftest import owner_of
from tests.support.calling import Desk
from tests.support.cast import Member
from tests.support.scripted import PNG, Scripted, among, final
from tests.support.working import Bench

CutOff = Callable[[], Awaitable["asyncio.Task[None]"]]

DAY = 24 * 3600  # seconds
GOOGLE_KEY = "AIza" + "Sy0123456789-abcdefghijklmnopqrstuv"
CUT_OFF = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("the key 'a-key-of-the-settings' is wrong", "the key '[hidden]' is wrong"),
        (f"API key {GOOGLE_KEY} not valid", "API key [hidden] not valid"),
        ("Authorization: Bearer abc.def-ghi", "Authorization: Bearer [hidden]"),
        ("no route to http://me:pa55word@proxy:3128/", "no route to http://[hidden]@proxy:3128/"),
        ("x" * 1990 + GOOGLE_KEY, "x" * 1990 + "[hidden]"),
        ("y" * 3000, "y" * 2000),
        ("", None),
    ],
)
async def test_the_vendors_words_are_kept_without_secrets(desk: Desk, said: str, kept: str | None) -> None:
    load_settings(gemini_api_key="a-key-of-the-settings")
    await desk.fail(desk.gate(), error=final(operator_message=said))
    [row] = await desk.rows()
    assert row["error"] == kept


async def test_a_call_that_died_with_its_worker_is_abandoned_once_it_must_be_over(desk: Desk) -> None:
    gate, late = desk.gate(), asyncio.Event()
    lost = await desk.start(gate, late)
    await desk.call(gate)
    await desk.later(2 * 30 + 60 - 5)
    assert await abandon_lost(desk.db, call_timeout=30) == 0
    await desk.later(10)
    assert await abandon_lost(desk.db, call_timeout=30) == 1
    assert [row["status"] for row in await desk.rows()] == ["abandoned", "succeeded"]
    assert await abandon_lost(desk.db, call_timeout=30) == 0
    late.set()
    await lost  # it was only slow, and what it has to say counts
    assert [row["status"] for row in await desk.rows()] == ["succeeded", "succeeded"]


async def test_what_is_old_is_removed_and_nothing_else(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    gate = desk.gate()
    await desk.call(gate)
    await desk.later(2 * DAY)
    old = [record.id for record in (await desk.call(gate), await desk.call(gate), await desk.call(gate))]
    await desk.later(89 * DAY)
    [new] = [(await desk.call(gate)).id]
    monkeypatch.setattr(sweep, "BATCH", 2)
    assert await prune(desk.db, days=90) == 1
    assert [row["id"] for row in await desk.rows()] == [*old, new]
    await desk.later(2 * DAY)
    assert await tidy(desk.db, 30, 90) == (0, 3)  # in as many statements as it takes
    assert [row["id"] for row in await desk.rows()] == [new]


@pytest.fixture
async def cut_off(owner: Any, servers: Servers, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[CutOff]:
    """A function that breaks every connection to the database but this test's own, and allows no new ones for a while.

    It returns the task that ends when there may be some again. What could not be written is not tried again.
    """
    monkeypatch.setattr(calls_gate, "LEAVE_AGAIN", 60)
    name = await owner.fetchval("SELECT current_database()")
    tasks = list[asyncio.Task[None]]()

    async def allow(word: str) -> None:
        async with owner_of(servers.database_url) as elsewhere:
            await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS {word}")

    async def mend() -> None:
        await asyncio.sleep(0.5)
        await allow("true")

    async def cut() -> "asyncio.Task[None]":
        await allow("false")
        await owner.execute(CUT_OFF)
        tasks.append(asyncio.create_task(mend()))
        return tasks[-1]

    yield cut
    await asyncio.gather(*tasks)


async def test_losing_the_database_while_leaving_loses_no_answer(desk: Desk, cut_off: CutOff) -> None:
    async with desk.calling(desk.gate()) as record:
        mended = await cut_off()
        answer = PNG
    assert answer is PNG
    await mended
    [row] = await desk.rows()
    assert (row["id"], row["status"]) == (record.id, "running")
    await desk.later(2 * 30 + 60 + 1)
    assert await abandon_lost(desk.db, call_timeout=30) == 1


async def test_losing_the_database_while_leaving_hides_no_failure(desk: Desk, cut_off: CutOff) -> None:
    async def refuse(_: Record) -> None:
        await cut_off()
        raise final(FailureCode.CONTENT_POLICY)

    with pytest.raises(ProviderError) as failure:
        await desk.call(desk.gate(), refuse)
    assert failure.value.code is FailureCode.CONTENT_POLICY


async def test_an_image_is_delivered_although_its_call_could_not_be_recorded(
    alice: Member, bench: Bench, cut_off: CutOff, owner: Any
) -> None:
    async def make() -> object:
        await cut_off()
        return PNG

    vendor = Scripted("unlogged", make=[make])
    project = await alice.order()
    assert await bench.drain(bench.runner(providers=among(vendor))) == ["succeeded"]
    made = "SELECT status FROM projects WHERE id = $1 AND image_asset_id IS NOT NULL"
    assert await owner.fetchval(made, UUID(project["id"])) == "draft"
    assert vendor.orders == 1
    assert await owner.fetchval("SELECT status FROM ai_operations WHERE provider = 'unlogged'") == "running"


@pytest.mark.parametrize(
    "usage", [Usage(input_tokens=2**70), Usage(input_tokens=10**40), Usage(request_id="a\x00b")], ids=str
)
async def test_a_figure_that_no_row_can_hold_costs_neither_the_answer_nor_the_slot(desk: Desk, usage: Usage) -> None:
    gate = desk.gate(prices={desk.provider.model: VendorPrice(input=Decimal(1))})
    async with desk.calling(gate) as record:
        record.usage = usage
    assert await desk.held() == 0
    [row] = await desk.rows()
    assert row["status"] == "succeeded"
