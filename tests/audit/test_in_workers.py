"""Real worker processes audit, one at a time, and go on when one is killed."""

import asyncio
import json
import signal
from typing import Any

from tallyframe.audit.invariants import INVARIANTS
from tests.support.books import until_all_ended
from tests.support.cast import Member
from tests.support.processes import Process, Processes

EVERY_SECOND = {"TALLYFRAME_AUDIT_INTERVAL": "1"}
CHECKED = "SELECT count(*) FROM audits"
SINCE = "SELECT bool_and(checked_at > $1) FROM audits WHERE name <> 'uploads_without_row'"


def events(process: Process, name: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in process.text.splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == name]


async def until(owner: Any, query: str, *values: Any) -> None:
    async with asyncio.timeout(60):
        while not await owner.fetchval(query, *values):
            await asyncio.sleep(0.1)


async def test_a_worker_audits_by_itself(alice: Member, processes: Processes, owner: Any) -> None:
    await alice.order()
    worker = await processes.worker(**EVERY_SECOND)
    await until(owner, "SELECT count(*) = $1 FROM audits", len(INVARIANTS))
    assert await owner.fetchval("SELECT sum(violations) FROM audits") == 0

    await until_all_ended(owner)
    await owner.execute("UPDATE projects SET status = 'failed', status_sequence = 99")
    await worker.until_logged("invariant_violated", 60)
    since = await owner.fetchval("SELECT now()")
    await until(owner, SINCE, since)
    [told] = events(worker, "invariant_violated")
    assert (told["level"], told["invariant"], told["violations"]) == ("error", "projects_show_their_latest", 1)
    assert await owner.fetchval("SELECT violations FROM audits WHERE name = 'projects_show_their_latest'") == 1

    worker.send(signal.SIGTERM)
    assert await worker.wait() == 0
    assert events(worker, "loop_failed") == events(worker, "audit_failed") == []


async def test_when_one_of_two_is_killed_the_other_goes_on(processes: Processes, owner: Any) -> None:
    first, second = [await processes.worker(**EVERY_SECOND) for _ in range(2)]
    await until(owner, "SELECT count(*) = $1 FROM audits", len(INVARIANTS))
    first.send(signal.SIGKILL)
    await first.wait()
    since = await owner.fetchval("SELECT now()")
    await until(owner, SINCE, since)
    assert events(second, "loop_failed") == events(second, "audit_failed") == []
