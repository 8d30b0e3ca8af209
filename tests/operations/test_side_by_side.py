"""Steps side by side: each has tries, waits and results of its own, and one that ends it loses none of the others'."""

import asyncio
import re
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import Database
from tallyframe.errors import FailureCode
from tallyframe.generations.end import settle
from tallyframe.generations.end.withdraw import withdraw
from tallyframe.providers.base import Answer, Call, Data, Task, Ticket
from tests.conftest import ClientFor, enroll
from tests.operations.buying import buy, places, receipt
from tests.operations.dropped import note, reel
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.scripted import PNG, QUICKLY, Said, Scripted, among, failing, final
from tests.support.working import Bench

STATES = "SELECT name, state FROM generation_steps WHERE generation_id = $1 ORDER BY name, attempt"
DUE = "UPDATE generation_steps SET poll_at = now() - interval '1 second' WHERE name = ANY ($1)"
AWAKE = "UPDATE generations SET wake_at = now() WHERE wake_at IS NOT NULL"


class ByPrompt(Scripted):
    """Answers what its tables say of each prompt, from the left, and then makes it; `order` and `ask` by prompts."""

    def __init__(self, order: dict[str, list[Any]], ask: dict[str, list[Any]] | None = None, **more: Any) -> None:
        super().__init__("vendor", **more)
        self.order, self.ask = order, ask or {}
        self.ordered: list[str] = []
        self.polled: list[str] = []

    async def start(self, task: Task, call: Call) -> Answer:
        self.ordered.append(task.prompt)
        return await self._say(self.order, task, call)

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        self.polled.append(task.prompt)
        return await self._say(self.ask, task, call)

    async def _say(self, table: dict[str, list[Any]], task: Task, call: Call) -> Answer:
        script = table.get(task.prompt, [])
        if not script:
            return await super().start(task, call)
        said = script.pop(0)
        if isinstance(said, Exception):
            raise said
        answer: Answer = (await said()) if callable(said) else said
        return answer


async def states(owner: Any, made: dict[str, Any]) -> list[tuple[str, str]]:
    return [tuple(row) for row in await owner.fetch(STATES, UUID(made["id"]))]


async def run(bench: Bench, vendor: Scripted, made: dict[str, Any], retry: Any = QUICKLY) -> str:
    return await bench.runner(providers=among(vendor), retry=retry).run(UUID(made["id"]))


async def test_all_are_made_in_one_run_and_shown_with_their_places(
    alice: Member, bench: Bench, db: Database, owner: Any
) -> None:
    made = await buy(alice, "reel", images=["a", "b", "c"], videos=["d"])
    vendor = Scripted("vendor")
    assert await run(bench, vendor, made) == "succeeded"
    shown = await receipt(alice, made)
    assert places(shown) == [("image", 0), ("image", 1), ("image", 2), ("video", 0)]
    assert len({output["url"] for output in shown["outputs"]}) == 4
    assert vendor.orders == 4
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_what_is_done_is_not_asked_for_again_while_others_wait(alice: Member, bench: Bench, owner: Any) -> None:
    made = await buy(alice, "reel", images=["a", "b", "c"])
    vendor = ByPrompt({"b": [Ticket("b", 60)], "c": [Ticket("c", 90)]}, {"c": [Ticket("c", 30)]})
    assert await run(bench, vendor, made) == "snoozed"
    assert await states(owner, made) == [("image_0", "done"), ("image_1", "ticket"), ("image_2", "ticket")]
    waits = "SELECT wake_at - now() < '61 seconds' AND wake_at - now() > '50 seconds' FROM generations"
    assert await owner.fetchval(waits)  # woken for the first that is due

    await owner.execute(AWAKE)
    await owner.execute(DUE, ["image_2"])
    assert await run(bench, vendor, made) == "snoozed"
    assert vendor.polled == ["c"]  # the other one's time has not come
    await owner.execute(AWAKE)
    await owner.execute(DUE, ["image_1", "image_2"])
    assert await run(bench, vendor, made) == "succeeded"
    assert sorted(vendor.ordered) == ["a", "b", "c"]
    assert sorted(vendor.polled) == ["b", "c", "c"]


async def test_a_ticket_is_asked_for_when_it_is_due_while_another_order_takes_long(
    alice: Member, bench: Bench, db: Database, owner: Any
) -> None:
    made = await buy(alice, "reel", images=["quick", "slow", "none"])
    is_done = asyncio.Event()

    async def until_the_other_is_done() -> Answer:
        async with asyncio.timeout(20):
            await is_done.wait()
        return Ticket("slow", 60)

    async def deliver() -> Answer:
        is_done.set()
        return PNG

    vendor = ByPrompt(
        {"quick": [Ticket("quick", 0.3)], "slow": [until_the_other_is_done], "none": [Ticket("none", 60)]},
        {"quick": [Ticket("quick", 0.3), Ticket("quick", 0.3), deliver]},
    )
    assert await run(bench, vendor, made) == "snoozed"
    assert vendor.polled == ["quick"] * 3  # and whose time had not come was not asked for
    assert await states(owner, made) == [("image_0", "done"), ("image_1", "ticket"), ("image_2", "ticket")]
    await owner.execute(AWAKE)
    await owner.execute(DUE, ["image_1", "image_2"])
    assert await run(bench, vendor, made) == "succeeded"
    assert sorted(vendor.ordered) == ["none", "quick", "slow"]
    assert sorted(vendor.polled) == ["none", *["quick"] * 3, "slow"]
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_what_fails_when_it_is_asked_for_ends_it_and_the_slow_order_is_detached(
    alice: Member, bench: Bench, db: Database, owner: Any
) -> None:
    made = await buy(alice, "reel", images=["quick", "slow"])
    has_failed = asyncio.Event()

    async def slowly() -> Answer:
        async with asyncio.timeout(20):
            await has_failed.wait()
        return Ticket("slow", 60)

    vendor = ByPrompt({"quick": [Ticket("quick", 0.3)], "slow": [slowly]}, {"quick": [final()]})
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    assert await runner.run(UUID(made["id"])) == "failed"
    has_failed.set()
    await runner.dependencies.detached.aclose()
    assert await withdraw(runner.dependencies, UUID(made["id"])) == "withdrawn"
    assert vendor.stopped == ["slow"]
    assert await assert_books_balance(db, owner) == {"failed": 1}


async def test_one_that_is_tried_again_keeps_its_wait_when_another_one_wakes_it(
    alice: Member, bench: Bench, owner: Any
) -> None:
    """Or its tries would be used up at the pace of the others' tickets."""
    made = await buy(alice, "reel", images=["busy", "slow"])
    patience = failing(FailureCode.PROVIDER_QUOTA, retry_after=60)
    vendor = ByPrompt({"busy": [patience], "slow": [Ticket("slow", 0.01)]}, {"slow": [Ticket("slow", 0.01)] * 5})
    assert await run(bench, vendor, made) == "retried"
    for _ in range(5):
        await owner.execute(AWAKE)
        assert await run(bench, vendor, made) == "snoozed"
    assert vendor.ordered.count("busy") == 1
    assert (await receipt(alice, made))["attempt"] == 2
    await owner.execute(AWAKE)
    await owner.execute(DUE, ["image_0", "image_1"])
    assert await run(bench, vendor, made) == "succeeded"
    assert vendor.ordered.count("busy") == 2


async def test_one_that_is_tried_again_is_tried_at_once_when_somebody_wakes_it(
    alice: Member, bench: Bench, client_for: ClientFor, db: Database
) -> None:
    made = await buy(alice, "reel", images=["busy"])
    vendor = ByPrompt({"busy": [failing(FailureCode.PROVIDER_QUOTA, retry_after=60)]})
    assert await run(bench, vendor, made) == "retried"
    admin = await enroll(db, client_for, "admin@example.com", 0, admin=True)
    woken = await admin.http.post(f"/v1/admin/generations/{made['id']}/retry", json={"reason": "it is back"})
    assert woken.status_code == 202, woken.text
    assert await run(bench, vendor, made) == "succeeded"


async def test_each_step_has_tries_of_its_own(alice: Member, bench: Bench, db: Database, owner: Any) -> None:
    """Side by side or one after the other: what each may do does not add up to too much for all."""
    twice: list[Said] = [failing(), failing()]
    names = [f"p{number}" for number in range(12)]
    side_by_side = await buy(alice, "reel", images=names)
    vendor = ByPrompt({name: list(twice) for name in names})
    assert "succeeded" in await bench.drain(bench.runner(providers=among(vendor), retry=QUICKLY))
    assert all(vendor.ordered.count(name) == 3 for name in names)
    assert (await receipt(alice, side_by_side))["status"] == "succeeded"

    in_a_row = await buy(alice, "note", topic="p", times=14)
    said: list[Said] = [each for number in range(14) for each in (*twice, Data({"title": f"{number}"}))]
    fickle = Scripted("vendor", make=said)
    outcomes = await bench.drain(bench.runner(providers=among(fickle), retry=QUICKLY))
    assert (outcomes.count("retried"), outcomes[-1]) == (28, "succeeded")
    assert (await receipt(alice, in_a_row))["status"] == "succeeded"
    assert await assert_books_balance(db, owner) == {"succeeded": 2}


async def test_a_last_word_ends_it_and_the_others_tickets_are_withdrawn(
    alice: Member, bench: Bench, db: Database, owner: Any
) -> None:
    made = await buy(alice, "reel", images=["a", "b", "bad", "c"])
    vendor = ByPrompt({name: [Ticket(name, 60)] for name in "abc"} | {"bad": [_later(final())]})
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    assert await runner.run(UUID(made["id"])) == "failed"
    await runner.dependencies.detached.aclose()
    assert await withdraw(runner.dependencies, UUID(made["id"])) == "withdrawn"
    assert sorted(vendor.stopped) == ["a", "b", "c"]
    assert vendor.orders == 0
    assert await alice.available() == 20
    assert await assert_books_balance(db, owner) == {"failed": 1}


def _later(error: Exception) -> Any:
    async def say() -> Answer:
        await asyncio.sleep(0.3)
        raise error

    return say


async def test_no_ticket_is_lost_that_comes_in_the_moment_of_a_cancel(alice: Member, bench: Bench, owner: Any) -> None:
    """All are given at once, to a run whose generation has just been canceled."""
    names = [f"p{number}" for number in range(8)]
    made = await buy(alice, "reel", images=names)
    together = asyncio.Event()

    def promised(name: str) -> Any:
        async def say() -> Answer:
            await together.wait()
            return Ticket(name, 60)

        return say

    vendor = ByPrompt({name: [promised(name)] for name in names})
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    runner = replace(runner, limits=replace(runner.limits, heartbeat_seconds=60.0, lease_seconds=300.0))
    running = asyncio.create_task(runner.run(UUID(made["id"])))
    async with asyncio.timeout(10):
        while len(vendor.ordered) < len(names):
            await asyncio.sleep(0.01)
    assert await settle.cancel(bench.db, UUID(made["id"]), "no more")
    together.set()
    assert await running == "claim_lost"
    await runner.dependencies.detached.aclose()
    assert await withdraw(runner.dependencies, UUID(made["id"])) == "withdrawn"
    assert sorted(vendor.stopped) == sorted(names)
    assert {state for _, state in await states(owner, made)} == {"withdrawn"}


async def test_a_vendor_that_can_not_be_asked_to_stop_keeps_no_other_ticket_open(
    alice: Member, bench: Bench, owner: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await buy(alice, "reel", images=["a", "b", "c"])
    vendor = Scripted("vendor", make=[Ticket(name, 60) for name in "abc"], cancel=[failing()] * 3)
    assert await run(bench, vendor, made) == "snoozed"
    assert (await alice.http.post(f"/v1/generations/{made['id']}/cancel")).status_code == 200
    runner = bench.runner(providers=among(vendor))
    vendor._cancel.clear()
    vendor._cancel.extend([failing(), True, True])
    capsys.readouterr()
    assert await withdraw(runner.dependencies, UUID(made["id"])) == "again"
    told = sorted(re.findall(r"withdraw.*(step=image_.)", capsys.readouterr().out))
    assert told == [f"step=image_{number}" for number in range(3)]
    # They are asked side by side: nobody knows which of them is the first.
    assert sorted(state for _, state in await states(owner, made)) == ["ticket", "withdrawn", "withdrawn"]
    assert await withdraw(runner.dependencies, UUID(made["id"])) == "withdrawn"
    assert len(vendor.stopped) == 4


async def test_a_result_that_can_not_be_kept_ends_it_with_a_refund_at_once(
    alice: Member, bench: Bench, monkeypatch: Any, db: Database, owner: Any
) -> None:
    """Bugs in operations: two outputs at one place, and data that no row can hold."""

    monkeypatch.setattr(reel, "_place", lambda _: ("image", 0))
    monkeypatch.setattr(note, "_data", lambda titles: {"titles": titles, "odd": "\x00"})
    for made in (await buy(alice, "reel", images=["a", "b"]), await buy(alice, "note", topic="a")):
        assert await run(bench, Scripted("vendor"), made) == "failed"
        shown = await receipt(alice, made)
        assert (shown["status"], shown["error"]["code"], shown["outputs"]) == ("failed", "internal", [])
        assert shown["output"] is None
    assert await assert_books_balance(db, owner) == {"failed": 2}


async def test_the_receipt_names_the_provider_that_failed_and_not_the_last_that_was_asked(
    alice: Member, bench: Bench, owner: Any
) -> None:
    made = await buy(alice, "reel", images=["a"])

    async def fail() -> Answer:
        await owner.execute("UPDATE generations SET provider = 'other', model = 'other-1'")  # asked by another step
        raise final()

    vendor = ByPrompt({"a": [fail]})
    assert await run(bench, vendor, made) == "failed"
    shown = await receipt(alice, made)
    assert (shown["provider"], shown["model"]) == ("vendor", vendor.offers["image"].model)
