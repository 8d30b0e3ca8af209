"""Workers count while they live; what falls silent is forgotten, and what comes back counts again."""

import asyncio
from datetime import UTC, datetime
from typing import Any

import asyncpg
import pytest

from tallyframe.db import WORKER_ROLE, Database
from tallyframe.embedded import Servers
from tallyframe.errors import Unavailable
from tallyframe.reports import load
from tallyframe.reports.load import Fleet
from tallyframe.workers.heartbeat import SILENCE, Heartbeat
from tests.conftest import owner_of

AGO = "UPDATE workers SET seen_at = now() - make_interval(secs => $2) WHERE name = $1"


async def fleet(worker_db: Database) -> Fleet:
    async with worker_db.reading() as reader:
        return await load.fleet(reader)


async def names(worker_db: Database) -> list[str]:
    return [worker.name for worker in (await fleet(worker_db)).each]


async def rows(owner: Any) -> list[str]:
    return [row["name"] for row in await owner.fetch("SELECT name FROM workers ORDER BY name")]


async def test_nobody_is_there(worker_db: Database) -> None:
    nobody = await fleet(worker_db)
    assert (nobody.count, nobody.slots, nobody.busy, nobody.use) == (0, 0, 0, None)


async def test_who_is_there_counts_with_its_slots(worker_db: Database) -> None:
    await Heartbeat(worker_db, "b:1", 7).renew()
    await Heartbeat(worker_db, "a:1", 3).renew()
    both = await fleet(worker_db)
    assert [(worker.name, worker.slots, worker.busy) for worker in both.each] == [("a:1", 3, 0), ("b:1", 7, 0)]
    assert (both.count, both.slots, both.use) == (2, 10, 0)


async def test_renewing_moves_the_time_seen_and_not_the_start(worker_db: Database, owner: Any) -> None:
    worker = Heartbeat(worker_db, "a:1", 3)
    await worker.renew()
    [first] = (await fleet(worker_db)).each
    await owner.execute(AGO, "a:1", 30)
    await worker.renew()
    [later] = (await fleet(worker_db)).each
    assert later.started_at == first.started_at
    assert later.seen_at >= first.seen_at
    assert abs((later.seen_at - datetime.now(UTC)).total_seconds()) < 20


async def test_leaving_takes_the_row_away_and_no_other(worker_db: Database, owner: Any) -> None:
    staying, leaving = Heartbeat(worker_db, "a:1", 3), Heartbeat(worker_db, "b:1", 3)
    await staying.renew()
    await leaving.renew()
    await leaving.leave()
    assert await rows(owner) == ["a:1"]


async def test_who_never_came_leaves_nothing(worker_db: Database, owner: Any) -> None:
    await Heartbeat(worker_db, "a:1", 3).renew()
    await Heartbeat(worker_db, "a:1", 3).leave()
    assert await rows(owner) == ["a:1"]


@pytest.mark.parametrize(("seconds", "counts"), [(SILENCE - 15, True), (SILENCE + 1, False)])
async def test_silence_ends_it(worker_db: Database, owner: Any, seconds: float, *, counts: bool) -> None:
    await Heartbeat(worker_db, "a:1", 3).renew()
    await owner.execute(AGO, "a:1", seconds)
    assert await names(worker_db) == ["a:1"] * counts
    await Heartbeat(worker_db, "b:1", 3).renew()
    assert await rows(owner) == ["a:1"] * counts + ["b:1"]


async def test_who_was_frozen_and_forgotten_is_there_again_since_its_start(worker_db: Database, owner: Any) -> None:
    frozen = Heartbeat(worker_db, "a:1", 3)
    await frozen.renew()
    [before] = (await fleet(worker_db)).each
    await owner.execute(AGO, "a:1", SILENCE + 1)
    await Heartbeat(worker_db, "b:1", 3).renew()
    assert await rows(owner) == ["b:1"]
    await frozen.renew()
    after = (await fleet(worker_db)).each[0]
    assert (after.name, after.slots, after.started_at) == ("a:1", 3, before.started_at)


async def test_who_was_frozen_but_not_forgotten_yet_counts_again(worker_db: Database, owner: Any) -> None:
    frozen = Heartbeat(worker_db, "a:1", 3)
    await frozen.renew()
    await owner.execute(AGO, "a:1", SILENCE + 1)
    assert await names(worker_db) == []
    await frozen.renew()
    assert await names(worker_db) == ["a:1"]


async def test_a_later_worker_of_the_same_name_takes_the_row_over(worker_db: Database, owner: Any) -> None:
    early = Heartbeat(worker_db, "a:1", 3)
    await early.renew()
    [before] = (await fleet(worker_db)).each
    late = Heartbeat(worker_db, "a:1", 5)
    await late.renew()
    [after] = (await fleet(worker_db)).each
    assert after.slots == 5
    assert after.started_at > before.started_at
    await early.leave()
    assert await rows(owner) == ["a:1"]
    await late.leave()
    assert await rows(owner) == []


async def test_many_that_wake_up_together_all_count_again(worker_db: Database, owner: Any) -> None:
    crowd = [Heartbeat(worker_db, f"w:{number}", 1) for number in range(20)]
    await asyncio.gather(*(each.renew() for each in crowd))
    for _ in range(5):
        await owner.execute("UPDATE workers SET seen_at = now() - interval '2 minutes'")
        await asyncio.gather(*(each.renew() for each in crowd))
        await asyncio.gather(*(each.renew() for each in crowd))
        assert len(await names(worker_db)) == 20


async def test_a_lost_database_does_not_hold_up_the_end(owner: Any, worker_db: Database, database_url: str) -> None:
    lonely = Database(database_url, role=WORKER_ROLE, pool_size=1, statement_timeout=15)
    worker = Heartbeat(lonely, "a:1", 3)
    await worker.renew()
    await end_connections(owner)
    await worker.leave()
    await lonely.close()
    assert set(await rows(owner)) <= {"a:1"}


async def test_renewing_without_a_database_says_so(owner: Any, database_url: str, servers: Servers) -> None:
    lonely = Database(database_url, role=WORKER_ROLE, pool_size=1, statement_timeout=15)
    worker = Heartbeat(lonely, "a:1", 3)
    await worker.renew()
    name = await owner.fetchval("SELECT current_database()")
    async with owner_of(servers.database_url) as elsewhere:
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS false")
        await end_connections(owner)
        with pytest.raises(Unavailable):
            await worker.renew()
        await elsewhere.execute(f"ALTER DATABASE {name} ALLOW_CONNECTIONS true")
    await worker.renew()  # by a new connection
    await lonely.close()


async def end_connections(owner: "asyncpg.Connection[asyncpg.Record]") -> None:
    query = """
        SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid() AND application_name = 'tallyframe'"""
    await owner.execute(query)
