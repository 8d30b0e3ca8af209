"""Reads that may lag go to a replica while it is close behind, and everything else never does."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from math import inf
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from tallyframe.db import ADMIN_ROLE, Database, LaggingReads, Replica
from tallyframe.db.replica import read_written, seconds_behind
from tallyframe.doctor import Finding, examine
from tallyframe.embedded import Servers
from tallyframe.errors import Unavailable
from tallyframe.servers.outage import Outage
from tallyframe.servers.postgres_url import REPLICA, Address
from tallyframe.settings import Settings
from tests.conftest import ClientFor, enroll, serving
from tests.observability.test_metrics import value
from tests.support.pgbouncer import pooled
from tests.support.standby import Standby, on, standby_of
from tests.support.working import Bench

MAX_LAG = 3.0  # seconds; a replica of a server that all other tests write to is some tenths behind
IS_REPLICA = sa.text("SELECT pg_is_in_recovery()")


@pytest.fixture(scope="module")
async def standby(servers: Servers) -> AsyncIterator[Standby]:
    async with standby_of(servers.postgres) as standby:
        yield standby


@pytest.fixture
async def replaying(standby: Standby, database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """The replica, once it has this test's database, as its superuser; it replays again in the end."""
    await caught_up(standby, database_url)
    connection = await asyncpg.connect(on(standby, database_url))
    yield connection
    if connection.is_closed():
        connection = await asyncpg.connect(on(standby, database_url))
    await connection.execute("SELECT pg_wal_replay_resume()")
    await connection.close()


async def caught_up(standby: Standby, url: str) -> None:
    primary, replica = await asyncpg.connect(url), await asyncpg.connect(standby.url)
    until = await primary.fetchval("SELECT pg_current_wal_lsn()")
    async with asyncio.timeout(30):
        while await replica.fetchval("SELECT pg_last_wal_replay_lsn()") < until:
            await asyncio.sleep(0.02)
    await primary.close()
    await replica.close()


class Reading:
    """Reads that may lag, with what they were answered by."""

    def __init__(self, primary: Database, url: str) -> None:
        db = Database(
            Address(url, REPLICA),
            role=ADMIN_ROLE,
            pool_size=2,
            statement_timeout=5,
            outage=Outage("replica", remind=1000),
        )
        self.replica = Replica(db, primary, max_lag=MAX_LAG)
        self.asked: list[str] = []
        self.reads = LaggingReads(primary, self.replica, count=self.asked.append)

    async def is_replica(self) -> bool:
        async def read(db: Database) -> bool:
            return bool((await db.run(IS_REPLICA)).scalar_one())

        return await self.reads.read(read)

    async def until(self, *, is_replica: bool) -> None:
        async with asyncio.timeout(20):
            while await self.is_replica() is not is_replica:
                await asyncio.sleep(0.1)


@pytest.fixture
async def reading(db: Database, standby: Standby, replaying: Any, database_url: str) -> AsyncIterator[Reading]:
    reading = Reading(db, on(standby, database_url))
    yield reading
    await reading.replica.close()


async def test_one_that_has_read_everything_is_not_behind_however_long_nobody_has_written(
    reading: Reading, db: Database, standby: Standby, database_url: str
) -> None:
    written = await read_written(db)
    await caught_up(standby, database_url)
    an_hour_later = replace(written, at=written.at + timedelta(hours=1))
    assert await seconds_behind(reading.replica.db, an_hour_later) == 0.0
    more = replace(an_hour_later, position=written.position + 2**40)
    assert 3000 < await seconds_behind(reading.replica.db, more) < inf


async def test_one_behind_a_pooler_is_read_by_a_login_that_acts_as_the_role(
    db: Database, standby: Standby, replaying: Any, database_url: str
) -> None:
    reading = Reading(db, pooled(on(standby, database_url)))
    await reading.until(is_replica=True)
    await reading.replica.close()


async def test_its_connections_are_kept(reading: Reading) -> None:
    await reading.until(is_replica=True)
    pids = set()

    async def read(db: Database) -> None:
        pids.add((await db.run(sa.text("SELECT pg_backend_pid()"))).scalar_one())

    for _ in range(5):
        await reading.reads.read(read)
    assert len(pids) == 1


async def test_one_that_falls_behind_is_not_read_until_it_has_caught_up(
    reading: Reading, replaying: Any, owner: Any
) -> None:
    await reading.until(is_replica=True)
    with capture_logs() as logs:
        await replaying.execute("SELECT pg_wal_replay_pause()")
        await owner.execute("INSERT INTO workers (name, slots) VALUES ('late', 1)")
        await reading.until(is_replica=False)
        for _ in range(3):
            await asyncio.sleep(1.1)
            assert not await reading.is_replica()
        lag = reading.replica.lag
        assert lag
        assert lag > MAX_LAG
        await replaying.execute("SELECT pg_wal_replay_resume()")
        await reading.until(is_replica=True)
    assert [entry["event"] for entry in logs if "replica" in entry["event"]] == ["replica_unfit", "replica_fit"]
    assert reading.asked.count("primary") >= 4


async def test_one_that_is_away_costs_nobody_an_answer(reading: Reading, standby: Standby) -> None:
    await reading.until(is_replica=True)
    with capture_logs() as logs:
        await standby.stop()
        for _ in range(20):
            assert await reading.is_replica() is False
            await asyncio.sleep(0.1)
        assert reading.replica.lag is None
        await standby.start()
        await reading.until(is_replica=True)
        await asyncio.sleep(1.1)
        await reading.is_replica()
    told = [entry for entry in logs if entry["event"].startswith("server_")]
    assert [(entry["event"], entry["server"]) for entry in told] == [
        ("server_away", "replica"),
        ("server_back", "replica"),
    ]
    assert told[0]["error"].startswith("TALLYFRAME_REPLICA_URL: Postgres at 127.0.0.1:")


async def test_what_is_no_replica_is_not_read(db: Database, database_url: str) -> None:
    reading = Reading(db, database_url)
    with capture_logs() as logs:
        assert not await reading.is_replica()
    await reading.replica.close()
    assert reading.asked == ["primary"]
    assert [entry["reason"] for entry in logs if entry["event"] == "replica_unfit"] == ["it is no replica"]


async def test_an_error_of_the_replica_alone_is_not_the_readers(reading: Reading) -> None:
    await reading.until(is_replica=True)
    reading.asked.clear()

    async def read(db: Database) -> int:
        return int((await db.run(sa.text("SELECT 1 / CASE WHEN pg_is_in_recovery() THEN 0 ELSE 1 END"))).scalar_one())

    assert await reading.reads.read(read) == 1
    assert reading.asked == ["primary"]


async def test_what_takes_too_long_is_not_asked_again(reading: Reading) -> None:
    await reading.until(is_replica=True)
    asked = list[Database]()

    async def read(db: Database) -> None:
        asked.append(db)
        await db.run(sa.text("SELECT pg_sleep(60)"))

    with pytest.raises(Unavailable):
        await reading.reads.read(read)
    assert len(asked) == 1


async def test_while_the_primary_is_away_a_replica_that_was_close_is_read(
    reading: Reading, db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await reading.until(is_replica=True)

    async def refuse(*_: object) -> None:
        raise Unavailable

    monkeypatch.setattr(db, "run", refuse)
    await asyncio.sleep(1.1)
    assert await reading.is_replica()


async def test_the_api_reads_what_may_lag_there_and_the_rest_never(
    settings: Settings, standby: Standby, replaying: Any, database_url: str, db: Database, bench: Bench
) -> None:
    url = on(standby, database_url)
    async with serving(settings.replaced(replica_url=url, replica_max_lag=600)) as client_for:
        await walk(client_for, standby, replaying, database_url, db, bench)


async def walk(
    client_for: ClientFor, standby: Standby, replaying: Any, database_url: str, db: Database, bench: Bench
) -> None:
    alice = await enroll(db, client_for, "alice@example.com", 20)
    admin = await enroll(db, client_for, "root@example.com", 20, admin=True)
    project = (await alice.order())["id"]
    await bench.drain()
    assert (await alice.http.post(f"/v1/projects/{project}/publish")).status_code == 200
    await caught_up(standby, database_url)
    before = value((await alice.http.get("/metrics")).text, 'tallyframe_replica_reads_total{database="replica"}')
    assert [each["id"] for each in (await alice.http.get("/v1/explore")).json()["data"]] == [project]

    await replaying.execute("SELECT pg_wal_replay_pause()")
    await enroll(db, client_for, "late@example.com", 5)
    newer = (await alice.order())["id"]
    # What is the user's own, or counts credits, is there at once.
    assert (await alice.http.get(f"/v1/projects/{newer}")).status_code == 200
    assert newer in {each["id"] for each in (await alice.http.get("/v1/projects")).json()["data"]}
    credit = (await alice.http.get("/v1/credits")).json()
    assert credit["reserved"] > 0
    detail = (await admin.http.get(f"/v1/admin/users/{alice.user.id}")).json()
    assert detail["available"] == credit["available"]
    # Lists and figures for administrators come from before.
    users = (await admin.http.get("/v1/admin/users")).json()["data"]
    assert "late@example.com" not in {user["email"] for user in users}
    for path in ("generations", "log", "webhooks", "ai-operations", "stats"):
        assert (await admin.http.get(f"/v1/admin/{path}")).status_code == 200
    assert (await admin.http.get("/v1/admin/stats")).json()["total"]["accepted"] == 1
    after = value((await alice.http.get("/metrics")).text, 'tallyframe_replica_reads_total{database="replica"}')
    assert after - before >= 8


async def words_of_doctor(settings: Settings, **changes: object) -> Finding:
    found = {finding.name: finding async for finding in examine(settings.replaced(**changes))}
    return found["replica"]


async def test_the_doctor_tells_how_far_it_is_behind(
    settings: Settings, standby: Standby, replaying: Any, database_url: str, owner: Any
) -> None:
    url = on(standby, database_url)
    found = await words_of_doctor(settings, replica_url=url)
    assert found.is_well, found.words
    assert found.words == f"127.0.0.1:{standby.port}, 0.0 s behind"
    await replaying.execute("SELECT pg_wal_replay_pause()")
    await owner.execute("INSERT INTO workers (name, slots) VALUES ('late', 1)")
    await asyncio.sleep(1.5)
    found = await words_of_doctor(settings, replica_url=url, replica_max_lag=0.5)
    assert not found.is_well
    assert "s behind, and TALLYFRAME_REPLICA_MAX_LAG is 0.5" in found.words


async def test_the_doctor_finds_what_is_no_replica_or_away(settings: Settings, database_url: str) -> None:
    assert "It is no replica" in (await words_of_doctor(settings, replica_url=database_url)).words
    away = await words_of_doctor(settings, replica_url="postgresql://127.0.0.1:1/none")
    assert away.words.startswith("TALLYFRAME_REPLICA_URL: Postgres at 127.0.0.1:1 can't be reached")
