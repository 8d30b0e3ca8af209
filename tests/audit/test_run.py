"""What is due is checked by one auditor at a time, kept, and told once; what can't be seen keeps nothing else back."""

import asyncio
from typing import Any, ClassVar

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from tallyframe import observe
from tallyframe.audit import rows, run
from tallyframe.audit.base import Example, Finding, Invariant, View
from tallyframe.audit.invariants import INVARIANTS
from tallyframe.audit.rows import read
from tallyframe.errors import Unavailable
from tallyframe.storages.base import StorageError
from tests.audit.conftest import Audits

OFTEN = {"interval": 3600.0}
LOCKS = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
LATER = "UPDATE audits SET checked_at = checked_at - make_interval(secs => $1)"


class Told(Invariant):
    """Finds what it is told to find, and counts how often it was asked."""

    name: ClassVar[str] = "told"
    meaning: ClassVar[str] = "This is a test."

    def __init__(self, *findings: Finding | Exception) -> None:
        self.findings = list(findings)
        self.seen: list[Finding | None] = []

    async def check(self, view: View) -> Finding:
        self.seen.append(view.last)
        found = self.findings.pop(0) if self.findings else Finding(1, 0)
        if isinstance(found, Exception):
            raise found
        return found


class Held(Told):
    """Is looking until it is released."""

    name = "held"

    def __init__(self) -> None:
        super().__init__()
        self.looking, self.released = asyncio.Event(), asyncio.Event()

    async def check(self, view: View) -> Finding:
        self.looking.set()
        await self.released.wait()
        return await super().check(view)


def wrong(*subjects: str, count: int | None = None) -> Finding:
    return Finding(9, count or len(subjects), [Example(subject, "is wrong") for subject in subjects])


async def test_everything_is_checked_and_kept(audits: Audits, owner: Any) -> None:
    names = [invariant.name for invariant in INVARIANTS]
    assert await audits.auditor(**OFTEN).round() == names
    kept = await owner.fetch("SELECT * FROM audits")
    assert sorted(row["name"] for row in kept) == sorted(names)
    assert all(row["violations"] == 0 and row["milliseconds"] >= 0 for row in kept)
    assert await owner.fetchval("SELECT bool_and(now() - checked_at < interval '1 minute') FROM audits")
    assert await audits.auditor(**OFTEN).round() == []
    assert await owner.fetchval(LOCKS) == 0


async def test_it_is_due_again_after_the_interval(audits: Audits, owner: Any) -> None:
    told = Told()
    auditor = audits.auditor(told, **OFTEN)
    assert [await auditor.round() for _ in range(2)] == [["told"], []]
    await owner.execute(LATER, 3590)
    assert await auditor.round() == []
    await owner.execute(LATER, 11)
    assert await auditor.round() == ["told"]


async def test_what_takes_long_comes_less_often(audits: Audits, owner: Any) -> None:
    auditor = audits.auditor(Told(), **OFTEN)
    await auditor.round()
    await owner.execute("UPDATE audits SET milliseconds = 360000, checked_at = now() - interval '7190 s'")
    assert await auditor.round() == []
    await owner.execute(LATER, 11)
    assert await auditor.round() == ["told"]


async def test_what_is_said_to_come_rarely_does(audits: Audits, owner: Any) -> None:
    class Daily(Told):
        every = 86_400.0

    auditor = audits.auditor(Daily(), interval=0.0)
    await auditor.round()
    await owner.execute(LATER, 86_000)
    assert await auditor.round() == []
    await owner.execute(LATER, 500)
    assert await auditor.round() == ["told"]


async def test_of_many_auditors_one_does_the_work(audits: Audits) -> None:
    told = Told()
    many = [audits.auditor(told, **OFTEN) for _ in range(6)]
    done = await asyncio.gather(*(auditor.round() for auditor in many))
    assert sorted(done) == [[]] * 5 + [["told"]]
    assert len(told.seen) == 1


async def test_while_one_looks_nobody_else_does(audits: Audits, owner: Any) -> None:
    held, told = Held(), Told()
    first = asyncio.create_task(audits.auditor(held, **OFTEN).round())
    await held.looking.wait()
    assert await audits.auditor(told, **OFTEN).round() == []
    held.released.set()
    assert await first == ["held"]
    assert await audits.auditor(told, **OFTEN).round() == ["told"]


async def test_who_is_stopped_while_looking_lets_the_next_one(audits: Audits, owner: Any) -> None:
    held = Held()
    first = asyncio.create_task(audits.auditor(held, **OFTEN).round())
    await held.looking.wait()
    assert await owner.fetchval(LOCKS) == 1
    first.cancel()
    await asyncio.gather(first, return_exceptions=True)
    async with asyncio.timeout(20):
        while await owner.fetchval(LOCKS):
            await asyncio.sleep(0.02)
    assert await audits.auditor(Told(), **OFTEN).round() == ["told"]


async def test_who_loses_the_connection_loses_the_lock(audits: Audits, owner: Any) -> None:
    held = Held()
    first = asyncio.create_task(audits.auditor(held, **OFTEN).round())
    await held.looking.wait()
    await owner.fetch("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
    async with asyncio.timeout(20):
        while await owner.fetchval(LOCKS):
            await asyncio.sleep(0.02)
    assert await audits.auditor(Told(), **OFTEN).round() == ["told"]
    held.released.set()
    with pytest.raises(Unavailable):
        await first


@pytest.mark.parametrize("error", [StorageError("away"), Unavailable("slow"), ValueError("a bug")])
async def test_what_can_not_be_seen_is_no_violation_and_keeps_nothing_back(audits: Audits, error: Exception) -> None:
    class Blind(Told):
        name = "blind"

    told, blind = Told(), Blind(error)
    auditor = audits.auditor(blind, told, interval=3600.0)
    with capture_logs() as logs:
        assert await auditor.round() == ["told"]
    async with audits.db.reading() as reader:
        assert set(await read(reader)) == {"told"}
    expected = "audit_failed" if isinstance(error, ValueError) else "audit_blind"
    assert [(log["event"], log["invariant"]) for log in logs] == [(expected, "blind")]
    assert await auditor.round() == []  # it rests here
    assert await audits.auditor(blind, told, interval=3600.0).round() == ["blind"]


async def test_a_lost_line_ends_the_round_and_is_no_bug(audits: Audits, owner: Any) -> None:
    class Cut(Told):
        name = "cut"

        async def check(self, view: View) -> Finding:
            await owner.fetch("SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory'")
            await view.reader.execute(sa.text("SELECT 1"))
            return await super().check(view)

    with capture_logs() as logs, pytest.raises(Unavailable):
        await audits.auditor(Cut(), Told(), **OFTEN).round()
    assert [(log["event"], log["invariant"]) for log in logs] == [("audit_blind", "cut")]
    assert await audits.auditor(Told(), **OFTEN).round() == ["told"]


async def test_another_versions_database_is_not_judged(audits: Audits, owner: Any) -> None:
    ours = await owner.fetchval("SELECT version_num FROM alembic_version")
    await owner.execute("UPDATE alembic_version SET version_num = 'of tomorrow'")
    with capture_logs() as logs:
        assert await audits.auditor(Told(wrong("a")), **OFTEN).round() == []
    assert [log["event"] for log in logs] == ["audit_blind"]
    await owner.execute("UPDATE alembic_version SET version_num = $1", ours)
    with capture_logs() as logs:
        assert await audits.auditor(Told(wrong("a")), **OFTEN).round() == ["told"]
    assert [log["event"] for log in logs] == ["invariant_violated"]


async def test_the_last_finding_is_there_for_the_next_check(audits: Audits) -> None:
    told = Told(wrong("a", "b"))
    auditor = audits.auditor(told)
    async with asyncio.timeout(20):
        while len(told.seen) < 2:
            await auditor.round()
    assert told.seen == [None, wrong("a", "b")]


@pytest.mark.parametrize(
    ("findings", "told"),
    [
        ([wrong(), wrong()], ["", ""]),
        ([wrong("a"), wrong("a"), wrong("a")], ["violated", "", ""]),
        ([wrong("a"), wrong("a", "b"), wrong("a", "b")], ["violated", "violated", ""]),
        ([wrong("a"), wrong("b")], ["violated", "violated"]),
        ([wrong("a", "b"), wrong("a")], ["violated", ""]),
        ([wrong("a"), wrong(), wrong("a")], ["violated", "mended", "violated"]),
        ([wrong("a", count=30), wrong("b", count=30), wrong("b", count=31)], ["violated", "", "violated"]),
    ],
)
async def test_it_is_told_once_per_change(
    audits: Audits, owner: Any, monkeypatch: pytest.MonkeyPatch, findings: list[Finding], told: list[str]
) -> None:
    reported: list[BaseException] = []
    monkeypatch.setattr(observe, "report", reported.append)
    auditor, events = audits.auditor(Told(*findings), **OFTEN), list[str]()
    for _ in findings:
        with capture_logs() as logs:
            assert await auditor.round() == ["told"]
        await owner.execute(LATER, 4000)
        [event] = [log["event"].removeprefix("invariant_") for log in logs] or [""]
        events.append(event)
        assert event != "violated" or (logs[0]["log_level"], logs[0]["invariant"]) == ("error", "told")
    assert events == told
    assert len(reported) == told.count("violated")
    assert all(isinstance(error, run.InvariantViolated) and "told: " in str(error) for error in reported)


async def test_what_is_only_counted_is_not_told(audits: Audits, monkeypatch: pytest.MonkeyPatch) -> None:
    class Counted(Told):
        is_counted = True

    monkeypatch.setattr(observe, "report", lambda error: pytest.fail(str(error)))
    with capture_logs() as logs:
        await audits.auditor(Counted(wrong("a"))).round()
    assert logs == []


async def test_ages_are_the_databases(audits: Audits, owner: Any) -> None:
    await rows.write(audits.db, "told", wrong("a"), milliseconds=7)
    await owner.execute(LATER, 100)
    async with audits.db.reading() as reader:
        checked = (await read(reader))["told"]
        now = (await reader.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
    assert 100 <= checked.age <= (now - checked.at).total_seconds() + 0.001
    assert (checked.milliseconds, checked.finding) == (7, wrong("a"))
