"""A server that is away is told of once, and again after a while: however many loops, slots and requests ask for it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import SimpleNamespace
from typing import Any, cast

import pytest
import sqlalchemy as sa
from structlog.testing import capture_logs

from tallyframe.api.dependencies import Services
from tallyframe.api.health import look
from tallyframe.db import API_ROLE, WORKER_ROLE, Database
from tallyframe.embedded import Servers
from tallyframe.errors import Unavailable
from tallyframe.generations.end.forget import forget
from tallyframe.generations.end.sweep import sweep
from tallyframe.outbox.relay import connect, wake
from tallyframe.servers import outage as outages
from tallyframe.servers.outage import BACK_AFTER, REST, WRITES_BACK_AFTER, Outage
from tallyframe.worker import repeat
from tests.conftest import with_database

NOBODY = "postgresql://tallyframe:geheim-4711@127.0.0.1:1/books"


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(outages, "monotonic", clock)
    return clock


def lines(logs: Any) -> list[str]:
    return [f"{line['event']} {line.get('server', '')} {line['seconds']}" for line in logs]


def test_one_warning_a_reminder_now_and_then_and_one_line_at_the_end(clock: Clock) -> None:
    outage = Outage("postgres", remind=30)
    with capture_logs() as logs:
        for _ in range(700):  # a minute and a bit, ten failures a second
            outage.note("it is away")
            clock.now += 0.1
        outage.over()
        assert outage.is_on, "a connection that works between others that still fail is not the end"
        clock.now += BACK_AFTER
        outage.over()
        assert not outage.is_on
        outage.note("it is away again")
    said = ["server_away postgres 0", "server_away postgres 30", "server_away postgres 60", "server_back postgres 71"]
    assert lines(logs) == [*said, "server_away postgres 0"]


def test_refused_writes_are_an_outage_although_reading_goes_well(clock: Clock) -> None:
    outage = Outage("postgres", remind=30)
    with capture_logs() as logs:
        for second in range(60):
            if second % 11 == 0 and second < 30:
                outage.note("its disk is full", refuses_writes=True)
                assert outage.takes_no_writes
            clock.now += 1
            if outage.is_on:
                outage.over()
        assert REST < 11 < WRITES_BACK_AFTER
        assert not outage.takes_no_writes
    assert lines(logs) == ["server_away postgres 0", "server_back postgres 52"]


def test_without_a_reminder_nothing_is_logged(clock: Clock) -> None:
    with capture_logs() as logs:
        outage = Outage("postgres")
        outage.note("it is away")
        clock.now += BACK_AFTER
        outage.over()
    assert logs == []


async def test_all_loops_of_a_worker_together_say_it_once() -> None:
    outage = Outage("postgres", remind=30)
    db = Database(NOBODY, role=WORKER_ROLE, pool_size=3, statement_timeout=5, outage=outage)
    ended, rounds = asyncio.Event(), 0

    async def work() -> None:
        nonlocal rounds
        rounds += 1
        await db.run(sa.text("SELECT 1"))

    with capture_logs() as logs:
        loops = [asyncio.create_task(repeat(f"loop {n}", 0.01, work, until=ended, outages=[outage])) for n in range(9)]
        while rounds < 9:
            await asyncio.sleep(0.01)
        ended.set()
        await asyncio.gather(*loops)
    await db.close()
    assert [line["event"] for line in logs] == ["server_away"]
    assert logs[0]["error"].startswith("TALLYFRAME_DATABASE_URL: Postgres at 127.0.0.1:1 can't be reached")
    assert "4711" not in str(logs)


@pytest.mark.parametrize("round_of", [sweep, forget])
async def test_a_sweep_says_it_no_second_time(round_of: Callable[[Database], Awaitable[object]]) -> None:
    db = Database(NOBODY, role=WORKER_ROLE, pool_size=1, statement_timeout=5, outage=Outage("postgres", remind=30))
    with capture_logs() as logs:
        for _ in range(2):
            with suppress(Unavailable):
                await round_of(db)
    await db.close()
    assert [line["event"] for line in logs] == ["server_away"]


async def test_it_is_back_for_every_pool_of_the_process(database_url: str, servers: Servers, clock: Clock) -> None:
    outage = Outage("postgres", remind=30)
    missing = with_database(servers.database_url, "not_there_yet")
    away = Database(missing, role=WORKER_ROLE, pool_size=1, statement_timeout=5, outage=outage)
    there = Database(database_url, role=WORKER_ROLE, pool_size=1, statement_timeout=5, outage=outage)
    with capture_logs() as logs:
        with pytest.raises(Unavailable):
            await away.run(sa.text("SELECT 1"))
        clock.now += 5
        await there.run(sa.text("SELECT 1"))
    assert lines(logs) == ["server_away postgres 0", "server_back postgres 5"]
    await away.close()
    await there.close()


async def test_a_statement_that_takes_too_long_is_no_outage(database_url: str) -> None:
    db = Database(database_url, role=WORKER_ROLE, pool_size=1, statement_timeout=0.05)
    with pytest.raises(Unavailable):
        await db.run(sa.text("SELECT pg_sleep(5)"))
    assert not db.outage.is_on
    await db.close()


async def test_a_look_that_waits_in_vain_tells_of_both_servers() -> None:
    async def be_silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    async with await asyncio.start_server(be_silent, "127.0.0.1") as silent:
        port = silent.sockets[0].getsockname()[1]
        url = f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable"
        db = Database(url, role=API_ROLE, pool_size=1, statement_timeout=5, outage=Outage("postgres", remind=30))
        queue = connect(f"redis://127.0.0.1:{port}/0", outage=Outage("redis", remind=30))
        with capture_logs() as logs:
            found = await look(cast("Services", SimpleNamespace(db=db, queue=queue)))
        await db.close()
        await queue.aclose(close_connection_pool=True)
    assert tuple(found) == ("unreachable", "unreachable")
    assert sorted(lines(logs)) == ["server_away postgres 0", "server_away redis 0"]
    assert all("gives no answer in time" in line["error"] for line in logs)


async def test_orders_without_redis_say_it_once() -> None:
    redis = connect("redis://127.0.0.1:1/0", outage=Outage("redis", remind=30))
    with capture_logs() as logs:
        assert not any([await wake(redis) for _ in range(3)])
    assert lines(logs) == ["server_away redis 0"]
    await redis.aclose(close_connection_pool=True)
