"""No false alarm: the auditor looks again and again at a system that is at work, and finds nothing."""

import asyncio
import random
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

import pytest

from tallyframe.audit import looking
from tallyframe.audit.base import Example, Finding
from tallyframe.audit.invariants import INVARIANTS
from tallyframe.audit.live import NobodyIsOverdue, NobodyIsStranded
from tallyframe.audit.steps import NoOrderIsForgotten
from tallyframe.calls.gate import Gate
from tallyframe.generations.end.erase import Subject, erase
from tallyframe.generations.end.sweep import sweep
from tallyframe.generations.end.withdraw import withdraw
from tallyframe.generations.run import lease
from tallyframe.generations.run.runner import Runner
from tallyframe.generations.tables import ERASE_PROJECT, WITHDRAW
from tallyframe.outbox.tables import outbox
from tallyframe.providers.base import Answer, Call, ImageTask, Task
from tests.audit.conftest import Audits, World, subjects
from tests.support.cast import Member
from tests.support.quick import Quick
from tests.support.scripted import QUICKLY, Scripted, among, failing, final, limits as call_limits
from tests.support.working import Bench

LIVE = "SELECT count(*) FROM generations WHERE finished_at IS NULL"
ENDS = "SELECT status, count(*) FROM generations GROUP BY status"


class Moody(Scripted):
    """Most is made at once; some fails, for a while or for good, some is in doubt, some is a crash."""

    async def start(self, task: Task, call: Call) -> Answer:
        if not isinstance(task, ImageTask):
            return await super().start(task, call)
        mood = random.random()
        if mood < 0.1:
            raise final()
        if mood < 0.2:
            raise failing()
        if mood < 0.25:
            raise failing(in_doubt=True)
        if mood < 0.3:
            raise ValueError("a bug")
        await asyncio.sleep(random.random() / 50)
        return await super().start(task, call)


async def is_generating(member: Member, url: str) -> bool:
    """Poll as a client does: a busy machine may answer 503, and then we ask again."""
    answer = await member.http.get(url)
    return answer.status_code == 503 or bool(answer.json()["is_generating"])


async def place(member: Member, orders: int) -> None:
    """Order, wait, order again, cancel and delete, as many users would."""
    for number in range(orders):
        project = await member.order(f"cup {number}")
        url = f"/v1/projects/{project['id']}"
        if number % 5:
            while await is_generating(member, url):
                await asyncio.sleep(1)
        match number % 5:
            case 0:
                await member.http.post(f"{url}/cancel")
            case 1:
                assert (await member.http.delete(url)).status_code == 204
            case 2:
                assert (await member.http.post(f"{url}/regenerate")).status_code == 202
            case 3:
                await member.http.post(f"{url}/video", json={})


async def work(bench: Bench, runner: Runner, owner: Any) -> None:
    """What a worker does; now and then it dies with a generation."""
    while True:
        for generation in await bench.due():
            if random.random() < 0.05:
                await lease.claim(bench.db, lease.Holder("dying", 0.3), generation)
            elif random.random() < 0.05:
                cut = asyncio.create_task(runner.run(generation))
                await asyncio.sleep(0.01)
                cut.cancel()
                await asyncio.gather(cut, return_exceptions=True)
            else:
                await runner.run(generation)
        await asyncio.sleep(0.01)


async def tidy(bench: Bench, runner: Runner, owner: Any) -> None:
    """What workers do beside their generations."""
    while True:
        await sweep(bench.db)
        for row in (await bench.db.run(outbox.select().where(outbox.c.kind != "run_generation"))).all():
            if row.kind == ERASE_PROJECT:
                await erase(bench.db, runner.dependencies.storages.by_name, Subject(row.ref, ERASE_PROJECT))
            elif row.kind == WITHDRAW:
                await withdraw(runner.dependencies, row.ref)
        await asyncio.sleep(0.1)


async def audit(audits: Audits, seen: Counter[str], found: list[str]) -> None:
    """Check everything, over and over."""
    last: dict[str, Any] = {}
    while True:
        for invariant in INVARIANTS:
            finding = await audits.check(invariant, last.get(invariant.name), files=20, patience=10.0)
            last[invariant.name] = finding
            seen[invariant.name] += 1
            if finding.violations and not invariant.is_counted:
                found.append(f"{invariant.name}: {finding}")
        await asyncio.sleep(0.5)


async def test_300_mixed_orders_and_no_alarm(rich: Member, bench: Bench, audits: Audits, owner: Any) -> None:
    gate = Gate(bench.db, call_limits("moody", breaker_failures=10_000))  # an open circuit would only be waited for
    runner = bench.runner(providers=among(Moody("moody")), retry=replace(QUICKLY, max_retries=5), gate=gate)
    seen, found = Counter[str](), list[str]()
    background = [asyncio.create_task(work(bench, runner, owner)) for _ in range(2)]
    background += [asyncio.create_task(tidy(bench, runner, owner)), asyncio.create_task(audit(audits, seen, found))]
    try:
        await asyncio.gather(*(place(rich, 10) for _ in range(30)))
        async with asyncio.timeout(300):
            while await owner.fetchval(LIVE) or min(seen.values(), default=0) < 5:
                await asyncio.sleep(0.1)
    finally:
        for task in background:
            task.cancel()
        results = await asyncio.gather(*background, return_exceptions=True)
    assert [result for result in results if not isinstance(result, asyncio.CancelledError)] == []
    assert found == []
    assert len(seen) == len(INVARIANTS)
    assert {row["status"] for row in await owner.fetch(ENDS)} == {"succeeded", "failed", "canceled"}


LATE = (NobodyIsStranded(), NobodyIsOverdue(), NoOrderIsForgotten())


def meanwhile(monkeypatch: pytest.MonkeyPatch, what: Callable[[], Awaitable[Any]]) -> None:
    """Let this happen between two looks."""

    async def happens(_seconds: float) -> None:
        await what()

    monkeypatch.setattr(looking, "sleep", happens)


async def test_what_the_sweeper_is_about_to_mend_is_no_violation(
    world: World, audits: Audits, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pending, waiting, failed = (world.generations[name] for name in ("pending", "waiting", "failed"))
    await owner.execute("DELETE FROM outbox WHERE ref = $1", waiting)
    await owner.execute("UPDATE generations SET expires_at = now() - interval '1 hour' WHERE id = $1", pending)
    await owner.execute("UPDATE generation_steps SET state = 'intent' WHERE generation_id = $1", failed)
    await owner.execute("UPDATE generations SET finished_at = now() - interval '1 hour' WHERE id = $1", failed)
    assert [(await audits.check(each)).violations for each in LATE] == [1, 1, 1]
    meanwhile(monkeypatch, partial(sweep, audits.db))
    assert [(await audits.check(each)).violations for each in LATE] == [0, 0, 0]


async def test_a_sweep_that_needs_several_rounds_is_waited_for(
    rich: Member, audits: Audits, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(6):
        await rich.order(f"cup {number}")
    lost = [row["ref"] for row in await owner.fetch("DELETE FROM outbox RETURNING ref")]

    async def ring_two() -> None:
        for _ in range(min(2, len(lost) - 1)):
            await owner.execute("INSERT INTO outbox (kind, ref) VALUES ('run_generation', $1)", lost.pop())

    meanwhile(monkeypatch, ring_two)
    found = await audits.check(NobodyIsStranded())
    assert (list(subjects(found)), found.violations) == ([str(lost[0])], 1)


async def test_progress_is_not_waited_for_for_good(
    rich: Member, audits: Audits, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is left is looked at in the next check; what was a violation before still is one."""
    for number in range(looking.MOST_WAITS + 3):
        await rich.order(f"cup {number}")
    lost = [row["ref"] for row in await owner.fetch("DELETE FROM outbox RETURNING ref")]
    worst, waits = str(lost[0]), list[int]()

    async def ring_one() -> None:
        waits.append(len(lost))
        await owner.execute("INSERT INTO outbox (kind, ref) VALUES ('run_generation', $1)", lost.pop())

    meanwhile(monkeypatch, ring_one)
    async with asyncio.timeout(20):
        assert (await audits.check(NobodyIsStranded())).violations == 0
    assert len(waits) == looking.MOST_WAITS
    await owner.execute("DELETE FROM outbox WHERE ref <> ALL($1)", lost)
    lost += [row["id"] for row in await owner.fetch("SELECT id FROM generations WHERE id <> ALL($1)", lost)]
    last = Finding(9, 1, [Example(worst, "was stranded before")])
    assert subjects(await audits.check(NobodyIsStranded(), last)) == [worst]


async def test_letting_time_pass_makes_no_check_a_rare_one(world: World, audits: Audits, owner: Any) -> None:
    await owner.execute("DELETE FROM outbox WHERE ref = $1", world.generations["waiting"])
    started = monotonic()
    await audits.auditor(NobodyIsStranded(), patience=3.0).round()
    assert monotonic() - started >= 3
    violations, milliseconds = await owner.fetchrow("SELECT violations, milliseconds FROM audits")
    assert violations == 1
    assert 0 <= milliseconds < 2000


async def test_a_quiet_system_is_well(rich: Member, bench: Bench, audits: Audits) -> None:
    assert await audits.violated() == {}
    await rich.order()
    await bench.drain(bench.with_provider(Quick()))
    assert await audits.violated() == {}
