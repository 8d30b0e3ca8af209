"""What a vendor has said of a step is kept, whatever happens to the run, to other steps and to the database."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from tallyframe.calls.gate import Gate
from tallyframe.db import Database, database
from tallyframe.errors import Unavailable
from tallyframe.generations.run import lease
from tallyframe.generations.steps.rows import StepRows
from tallyframe.generations.steps.values import Verdict
from tallyframe.providers.base import Answer, Ticket
from tests.operations.buying import buy, receipt
from tests.operations.test_side_by_side import ByPrompt, states
from tests.support.cast import Member
from tests.support.scripted import PNG, QUICKLY, Scripted, among, final
from tests.support.working import Bench

WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
TICKETS = "SELECT name, ticket FROM generation_steps WHERE ticket IS NOT NULL ORDER BY name"


async def forever() -> Answer:
    await asyncio.Event().wait()
    raise AssertionError


class Away:
    """While `is_away`, no statement reaches the database."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.is_away = False
        for name in ("run", "call"):
            self._stop(monkeypatch, name, getattr(Database, name))

    def _stop(self, monkeypatch: pytest.MonkeyPatch, name: str, real: Any) -> None:
        async def maybe(db: Database, *given: Any, **more: Any) -> Any:
            if self.is_away:
                raise Unavailable
            return await real(db, *given, **more)

        monkeypatch.setattr(Database, name, maybe)


async def test_a_lost_connection_of_one_step_costs_no_other_its_result(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await buy(alice, "reel", images=["a", "b"])
    enter, cut = Gate.enter, asyncio.Event()

    async def slowly() -> Answer:
        await cut.wait()
        return PNG

    async def enters(gate: Gate, provider: str, model: str, context: Any) -> Any:
        if context.step == "image_1" and not cut.is_set():
            while "a" not in vendor.ordered:
                await asyncio.sleep(0.01)
            cut.set()
            raise Unavailable
        return await enter(gate, provider, model, context)

    vendor = ByPrompt({"a": [slowly]})
    monkeypatch.setattr(Gate, "enter", enters)
    assert (await bench.drain(bench.runner(providers=among(vendor), retry=QUICKLY)))[-1] == "succeeded"
    assert sorted(vendor.ordered) == ["a", "b"]
    assert await states(owner, made) == [("image_0", "done"), ("image_1", "done")]


async def test_a_ticket_that_is_being_kept_when_the_worker_stops(
    alice: Member, bench: Bench, owner: Any, database_url: str
) -> None:
    made = await buy(alice, "reel", images=["a", "slow"])
    other = await asyncpg.connect(database_url)
    lock, is_held = other.transaction(), asyncio.Event()

    async def promise() -> Answer:
        while len(vendor.ordered) < 2:
            await asyncio.sleep(0.01)
        await lock.start()
        await other.execute("SELECT FROM generations FOR UPDATE")  # whoever keeps the ticket waits for this
        is_held.set()
        return Ticket("a", 60)

    vendor = ByPrompt({"a": [promise], "slow": [forever]})
    running = asyncio.create_task(bench.runner(providers=among(vendor), retry=QUICKLY).run(UUID(made["id"])))
    await is_held.wait()
    while not await owner.fetchval(WAITING):
        await asyncio.sleep(0.01)
    running.cancel()
    await asyncio.sleep(0.1)
    await lock.rollback()
    await asyncio.gather(running, return_exceptions=True)
    await other.close()
    assert (await states(owner, made))[0] == ("image_0", "ticket")


async def test_a_database_that_is_away_for_longer_than_the_lease(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await buy(alice, "reel", images=["a", "slow"])
    away, said = Away(monkeypatch), asyncio.Event()

    async def promise() -> Answer:
        while len(vendor.ordered) < 2:
            await asyncio.sleep(0.01)
        away.is_away = True
        said.set()
        return Ticket("a", 60)

    vendor = ByPrompt({"a": [promise], "slow": [forever]})
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    runner = replace(runner, limits=replace(runner.limits, heartbeat_seconds=0.1, lease_seconds=0.5))
    running = asyncio.create_task(runner.run(UUID(made["id"])))
    await said.wait()
    await asyncio.sleep(1)  # twice the lease: the run has been given up
    away.is_away = False
    await running
    while not (kept := await owner.fetch(TICKETS)):
        await asyncio.sleep(0.05)
    assert [tuple(row) for row in kept] == [("image_0", "a")]


@pytest.mark.parametrize("images", [["a"], ["a", "slow"]])
async def test_a_ticket_that_cannot_be_kept_is_logged(
    images: list[str], alice: Member, bench: Bench, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    made = await buy(alice, "reel", images=images)
    monkeypatch.setattr(database, "RETRY_SECONDS", 0.3)
    away = Away(monkeypatch)

    async def promise() -> Answer:
        while len(vendor.ordered) < len(images):
            await asyncio.sleep(0.01)
        away.is_away = True
        return Ticket("the-only-way-back", 60)

    vendor = ByPrompt({"a": [promise], "slow": [forever]})
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    assert await runner.run(UUID(made["id"])) == "claim_lost"
    await runner.dependencies.detached.aclose(2)
    away.is_away = False
    logged = "".join(capsys.readouterr())
    assert "ticket_lost" in logged
    assert "the-only-way-back" in logged


async def test_a_verdict_that_cannot_be_kept_costs_no_other_its_own(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await buy(alice, "reel", images=["a", "b", "bad"])
    keep, go = StepRows.keep, asyncio.Event()

    async def keeps(rows: StepRows, verdict: Verdict) -> None:
        if verdict.name == "image_0":
            raise Unavailable
        await keep(rows, verdict)

    async def promise() -> Answer:
        await go.wait()
        return Ticket("b", 60)

    async def fail() -> Answer:
        await go.wait()
        raise final()

    monkeypatch.setattr(StepRows, "keep", keeps)
    vendor = ByPrompt({"a": [promise], "b": [promise], "bad": [fail]})
    runner = bench.runner(providers=among(vendor), retry=QUICKLY)
    running = asyncio.create_task(runner.run(UUID(made["id"])))
    while len(vendor.ordered) < 3:
        await asyncio.sleep(0.01)
    go.set()
    await running
    await runner.dependencies.detached.aclose(5)
    assert ("image_1", "b") in [tuple(row) for row in await owner.fetch(TICKETS)]


async def test_a_result_that_was_stored_late_stays(alice: Member, bench: Bench, owner: Any) -> None:
    made = await buy(alice, "reel", images=["a"])
    runner = bench.runner(providers=among(Scripted("vendor", make=[Ticket("a", 0.01)])), retry=QUICKLY)
    assert await runner.run(UUID(made["id"])) == "snoozed"
    while not (claim := await lease.claim(bench.db, runner.holder, UUID(made["id"]))):
        await asyncio.sleep(0.05)
    frozen = StepRows(bench.db, replace(claim, fence=claim.fence - 1))
    await frozen.orphan("image_0", 1, {"storage": "local", "key": "k"})
    verdict = Verdict("image_0", 1, "vendor", "vendor-1", "in_doubt", error_code="provider_rejected", is_final=True)
    await StepRows(bench.db, claim).keep(verdict)
    assert await states(owner, made) == [("image_0", "orphaned")]
    assert (await receipt(alice, made))["status"] == "processing"
