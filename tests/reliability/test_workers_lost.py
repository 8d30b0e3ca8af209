"""Workers that are killed, deployed over, frozen: their generations go on, and are paid once."""

import signal
from time import monotonic
from typing import Any

from tallyframe.db import Database
from tests.support.books import assert_books_balance, until_all_ended
from tests.support.cast import Member
from tests.support.processes import Processes
from tests.support.writing import until

RUNS = "SELECT count(*) FROM generations WHERE lease_until > now()"


async def test_a_lost_workers_generation_is_taken_over_within_a_minute(
    alice: Member, processes: Processes, db: Database, owner: Any
) -> None:
    """With the settings as they are unless somebody sets them."""
    usual = {"TALLYFRAME_LEASE_SECONDS": "30", "TALLYFRAME_HEARTBEAT_SECONDS": "8"}
    first = await processes.worker(**usual)
    await alice.order("[hang:2] a cup")
    await until(lambda: owner.fetchval("SELECT count(*) FROM generation_steps"))
    first.send(signal.SIGKILL)
    lost = monotonic()
    await processes.worker(**usual)
    await until(lambda: owner.fetchval("SELECT count(*) FROM generations WHERE attempt = 2"), 60)
    assert monotonic() - lost < 60
    await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_seven_rolling_restarts_during_one_generation(
    alice: Member, processes: Processes, db: Database, owner: Any
) -> None:
    project = await alice.order("[hang:8] a cup")
    hasty = {"TALLYFRAME_SHUTDOWN_GRACE": "0.1"}
    worker = await processes.worker(**hasty)
    for _ in range(7):
        await until(lambda: owner.fetchval(RUNS))
        worker.send(signal.SIGTERM)
        worker = await processes.worker(**hasty)
    assert [await started.wait() for started in processes.started[:7]] == [0] * 7
    await until_all_ended(owner)
    assert await assert_books_balance(db, owner) == {"succeeded": 1}
    assert (await alice.project(project["id"]))["generation"]["attempt"] == 8
    assert await alice.available() == 15


async def test_a_worker_that_was_frozen_beyond_its_lease_changes_nothing(
    alice: Member, processes: Processes, db: Database, owner: Any
) -> None:
    async def state() -> list[Any]:
        tables = ("generations", "projects", "ledger_entries", "assets", "accounts", "generation_steps")
        return [await owner.fetch(f"SELECT * FROM {table} ORDER BY 1") for table in tables]  # noqa: S608  # of ours

    frozen = await processes.worker()
    await alice.order("[hang:2] a cup")
    await until(lambda: owner.fetchval("SELECT count(*) FROM generation_steps"))
    frozen.send(signal.SIGSTOP)
    await processes.worker()
    await until_all_ended(owner)
    before = await state()
    frozen.send(signal.SIGCONT)
    await frozen.until_logged("generation_left")
    assert '"outcome": "claim_lost"' in frozen.text
    after = await state()
    assert after[:5] == before[:5]
    assert [row["state"] for row in after[5]].count("done") == 1
    assert await assert_books_balance(db, owner) == {"succeeded": 1}
