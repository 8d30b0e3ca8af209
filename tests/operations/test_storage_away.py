"""The storage is away: while a ticket stands, when a result comes, when a picture is needed. All is bought once."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID

import pytest

from tallyframe.calls.gate import Gate
from tallyframe.db import Database
from tallyframe.errors import FailureCode
from tallyframe.generations.run.runner import Runner
from tallyframe.providers.base import Answer, Call, Task, Ticket
from tallyframe.storages.base import Storage, StorageError
from tests.operations.buying import buy, places, receipt
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.scripted import QUICKLY, Scripted, among, limits
from tests.support.working import Bench

AWAKE = "UPDATE generations SET wake_at = now() WHERE wake_at IS NOT NULL"
CALLS = "SELECT kind, status, error_code, error FROM ai_operations"
DUE = "UPDATE generation_steps SET poll_at = NULL"


@dataclass
class Away:
    """A storage that is away for some keys; counts what is asked of it."""

    storage: Storage
    away: Callable[[str], bool] = lambda _: False
    reads: list[str] = field(default_factory=list)
    writes: list[str] = field(default_factory=list)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.storage, name)

    async def get(self, key: str) -> bytes:
        self.reads.append(key)
        await asyncio.sleep(0.05)
        self._check(key)
        return await self.storage.get(key)

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        self.writes.append(key)
        self._check(key)
        await self.storage.put(key, data, content_type)

    def _check(self, key: str) -> None:
        if self.away(key):
            raise StorageError("away")


def everything(_: str) -> bool:
    return True


def nothing(_: str) -> bool:
    return False


class Patient(Scripted):
    """Gives a ticket for everything, which is ready when `is_ready`; reads pictures when it orders, and only then."""

    is_ready = False

    async def start(self, task: Task, call: Call) -> Answer:
        await super().start(task, call)
        return Ticket(call.key, 60)

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        made = await super().collect(ticket, task, call)
        return made if self.is_ready else Ticket(ticket, 60)


@dataclass
class Place:
    """Runs one generation at a time, with a storage that can be away."""

    bench: Bench
    owner: Any
    storage: Away
    vendor: Scripted

    @property
    def runner(self) -> Runner:
        runner = self.bench.runner(providers=among(self.vendor), retry=QUICKLY)
        storages = runner.dependencies.storages
        ours = replace(storages, current=self.storage, by_name={**storages.by_name, "local": self.storage})
        return replace(runner, dependencies=replace(runner.dependencies, storages=ours))

    async def run(self, made: dict[str, Any]) -> str:
        """Run it now, whatever it waits for."""
        await self.owner.execute(AWAKE)
        await self.owner.execute(DUE)
        return await self.runner.run(UUID(made["id"]))


@pytest.fixture
def place(bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch) -> Place:
    monkeypatch.setattr("tallyframe.generations.steps.results.STORE_RETRIES", (0.0,))
    return Place(bench, owner, Away(bench.runner().dependencies.storages.current), Patient("vendor"))


async def uploaded(member: Member) -> dict[str, str]:
    answer = await member.http.post("/v1/assets", files={"file": ("a.png", picture(), "image/png")})
    return {"asset_id": answer.json()["id"]}


async def test_a_ticket_is_asked_for_all_the_same_and_no_picture_is_read_meanwhile(
    alice: Member, place: Place, db: Database, owner: Any
) -> None:
    place.vendor = vendor = Patient("vendor")
    made = await buy(alice, "reel", images=["a"], videos=["b"], start=await uploaded(alice))
    assert await place.run(made) == "snoozed"
    assert len(place.storage.reads) == 1  # for both orders, and for no poll
    place.storage.away = everything
    for polls in range(1, 8):
        assert await place.run(made) == "snoozed"
        assert len(vendor.asked) == 2 * polls
    assert len(place.storage.reads) == 1
    assert (vendor.orders, place.storage.writes) == (2, [])

    vendor.is_ready = True
    for _ in range(3):  # the results come, and can't be stored: their tickets stay
        assert await place.run(made) == "snoozed"
    states = await owner.fetch("SELECT state, ticket IS NOT NULL AS has_ticket FROM generation_steps")
    assert [tuple(row) for row in states] == [("ticket", True)] * 2
    assert (await receipt(alice, made))["status"] == "processing"
    place.storage.away = nothing
    assert await place.run(made) == "succeeded"
    assert vendor.orders == 2
    assert places(await receipt(alice, made)) == [("image", 0), ("video", 0)]
    assert len(place.storage.reads) == 1
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_one_result_that_could_be_stored_is_kept_while_another_one_waits(
    alice: Member, place: Place, owner: Any
) -> None:
    place.vendor = vendor = Patient("vendor")
    place.storage.away = lambda key: "image_1" in key
    made = await buy(alice, "reel", images=["a", "b"])
    assert await place.run(made) == "snoozed"
    vendor.is_ready = True
    for _ in range(3):
        assert await place.run(made) == "snoozed"
    states = await owner.fetch("SELECT name, state FROM generation_steps ORDER BY name")
    assert [tuple(row) for row in states] == [("image_0", "done"), ("image_1", "ticket")]
    place.storage.away = nothing
    assert await place.run(made) == "succeeded"
    assert vendor.orders == 2
    assert sum("image_0" in ticket for ticket in vendor.asked) == 1  # what is done is not asked for again


async def test_what_is_made_at_once_and_can_not_be_stored_is_refunded_and_not_bought_again(
    alice: Member, place: Place, db: Database, owner: Any
) -> None:
    place.vendor, place.storage.away = Scripted("vendor"), everything
    made = await buy(alice, "reel", images=["a"])
    assert await place.run(made) == "failed"
    assert await place.run(made) == "not_taken"
    assert place.vendor.orders == 1
    assert (await receipt(alice, made))["error"]["code"] == FailureCode.STORAGE_UNAVAILABLE
    assert await assert_books_balance(db, owner) == {"failed": 1}


async def test_a_picture_that_can_not_be_read_is_tried_again_before_anything_is_bought(
    alice: Member, place: Place, db: Database, owner: Any
) -> None:
    place.vendor = Scripted("vendor")
    made = await buy(alice, "reel", images=["a"], videos=["b"], start=await uploaded(alice))
    place.storage.away = everything
    assert await place.run(made) == "retried"
    assert await place.run(made) == "retried"
    assert place.vendor.orders == 0
    place.storage.away = nothing
    assert await place.run(made) == "succeeded"
    assert place.vendor.orders == 2

    lost = await buy(alice, "reel", images=["a"], start=await uploaded(alice))
    place.storage.away = everything
    assert [await place.run(lost) for _ in range(3)] == ["retried", "retried", "failed"]
    assert place.vendor.orders == 2
    shown = await receipt(alice, lost)
    assert (shown["error"]["code"], shown["error"]["fault"]) == (FailureCode.STORAGE_UNAVAILABLE, "platform")
    circuits = await owner.fetchval("SELECT count(*) FROM provider_circuits WHERE failures > 0")
    assert circuits == 0  # it is nothing that the vendor did
    assert await assert_books_balance(db, owner) == {"succeeded": 1, "failed": 1}


async def test_a_picture_that_can_not_be_read_is_nothing_that_a_vendor_did(
    alice: Member, place: Place, owner: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    place.vendor, place.storage.away = Scripted("vendor"), everything
    runner = place.runner
    guarded = Gate(place.bench.db, limits("vendor", breaker_failures=1))
    runner = replace(runner, dependencies=replace(runner.dependencies, gate=guarded))
    made = await buy(alice, "reel", images=["a"], start=await uploaded(alice))
    for _ in range(3):
        await owner.execute(AWAKE)
        await owner.execute(DUE)
        outcome = await runner.run(UUID(made["id"]))
    assert outcome == "failed"
    shown = await receipt(alice, made)
    assert shown["error"]["code"] == FailureCode.STORAGE_UNAVAILABLE
    assert await owner.fetchval("SELECT count(*) FROM provider_circuits") == 0
    assert {tuple(row) for row in await owner.fetch(CALLS)} == {("order", "abandoned", "storage_unavailable", "away")}
    said = capsys.readouterr().out
    assert said.count("input_unavailable") == 3
    assert "provider_failed" not in said
    await guarded.aclose()


async def test_a_picture_made_by_a_step_is_read_when_the_next_one_is_ordered(
    alice: Member, place: Place, db: Database, owner: Any
) -> None:
    place.vendor = vendor = Drawing("vendor")
    made = await buy(alice, "note", topic="a cat", draws=True)
    assert await place.run(made) == "snoozed"
    vendor.is_ready = True
    reads = place.storage.reads
    place.storage.away = lambda _: bool(reads)  # drawn and stored; but then it can't be looked at
    assert await place.run(made) == "retried"
    place.storage.away = nothing
    assert await place.run(made) == "succeeded"
    assert [len(given) for given in vendor.given] == [0, 0, 1]
    assert len((await receipt(alice, made))["output"]["titles"]) == 2
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


class Drawing(Scripted):
    """Images come by ticket, words at once."""

    is_ready = False

    async def start(self, task: Task, call: Call) -> Answer:
        made = await super().start(task, call)
        return Ticket(call.key, 60) if task.capability == "image" else made

    async def collect(self, ticket: str, task: Task, call: Call) -> Answer:
        return await super().collect(ticket, task, call) if self.is_ready else Ticket(ticket, 60)
