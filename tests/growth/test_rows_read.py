"""However much there is, and whatever Postgres believes about it, what is done often reads few rows.

Postgres counts the rows that each session reads. What is tried gets connections of its own, and is counted when they
are closed. TALLYFRAME_TEST_GENERATIONS=1000000 tries it with a million generations, once they are analyzed: it takes a
minute more.
"""

import asyncio
import os
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import asyncpg
import httpx
import pytest

from bench.fill import HOARDER, MIDDLE, Scale, fill
from tallyframe.accounts import keys
from tallyframe.commands.users import add_user
from tallyframe.db import ADMIN_ROLE, API_ROLE, WORKER_ROLE, Database
from tallyframe.generations import queries
from tallyframe.generations.end.erase import users_of
from tallyframe.generations.end.sweep import Sweeper
from tallyframe.generations.end.walk import BATCH
from tallyframe.generations.run import lease
from tallyframe.ids import new_id
from tallyframe.ledger import history
from tallyframe.pages import REACH, Window
from tallyframe.settings import Settings, load_settings
from tests.conftest import acting_as, copy_of, owner_of, serving

GENERATIONS = int(os.environ.get("TALLYFRAME_TEST_GENERATIONS", "60000"))
SCALE: Scale = replace(
    MIDDLE,
    generations=GENERATIONS,
    entries=GENERATIONS * 3 // 2,
    live=GENERATIONS // 10,
    hoard=GENERATIONS // 10,
    calls=GENERATIONS // 2,
)
#: Rows that any of it may read; there are at least six times as many of the user's own, and of live ones.
FEW = 1000

#: Entries of indexes, and rows of tables that were read from the beginning.
READ = """
    SELECT indexrelname::text, idx_tup_read FROM pg_stat_user_indexes
    UNION ALL SELECT relname::text, coalesce(seq_tup_read, 0) FROM pg_stat_user_tables"""
OTHERS = """
    SELECT count(*) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'"""
#: What Postgres knows of the tables: as it is, or nothing, as after an upgrade or a restored backup.
FORGET = "DELETE FROM pg_statistic; UPDATE pg_class SET reltuples = -1, relpages = 0 WHERE relkind IN ('r', 'i')"


@pytest.fixture(scope="module")
async def grown(servers: Any, template: str) -> AsyncIterator[str]:
    """A database as after years of use."""
    async with copy_of(template, servers, "grown") as url:
        await fill(url, SCALE)
        yield url


@pytest.fixture(scope="module", params=["analyzed", *(["unknown"] if GENERATIONS < 10**6 else [])])
async def known(request: pytest.FixtureRequest, grown: str, servers: Any) -> AsyncIterator[str]:
    """The same, with what Postgres knows about it."""
    if request.param == "analyzed":
        yield grown
        return
    async with copy_of("grown", servers, "unknown") as url:
        async with owner_of(url) as owner:
            await owner.execute(FORGET)
        yield url


@pytest.fixture
def settings(known: str, redis_url: str, tmp_path: Path) -> Settings:
    return load_settings(
        database_url=known, redis_url=redis_url, data_dir=tmp_path, max_active_generations=1000, metrics_max_age=0
    )


async def rows_read(settings: Settings, work: Callable[[], Awaitable[object]]) -> Counter[str]:
    """Do the work and return how many rows were read for it, by index or table; it must have closed its connections."""
    async with owner_of(settings.server.database_url.get_secret_value()) as owner:
        before = await _read(owner)
        await work()
        return await _read(owner) - before


async def _read(owner: "asyncpg.Connection[asyncpg.Record]") -> Counter[str]:
    async with asyncio.timeout(10):
        while await owner.fetchval(OTHERS):  # a session adds what it has read when it ends
            await asyncio.sleep(0.01)
    await owner.execute("SELECT pg_stat_clear_snapshot()")
    return Counter(dict(await owner.fetch(READ)))


def as_worker(work: Callable[[Database], Awaitable[object]], role: str = WORKER_ROLE) -> Any:
    async def done(settings: Settings, _: Mapping[str, str]) -> None:
        async with acting_as(role, settings) as db:
            await work(db)

    return done


def by_http(method: str, path: str, *, who: str = "hoarder", **sent: Any) -> Any:
    async def done(settings: Settings, callers: Mapping[str, str]) -> None:
        async with serving(settings) as client_for:
            answer: httpx.Response = await client_for(callers[who]).request(method, path, **sent)
            assert answer.is_success, answer.text

    return done


async def _poll(db: Database) -> None:
    mine = db.as_user(HOARDER)
    row = (await queries.listed(mine, HOARDER, Window(None, 1))).rows[0]
    assert await queries.project_version(mine, HOARDER, row["id"])
    assert await queries.project(mine, HOARDER, row["id"])


async def _credits(db: Database) -> None:
    async with db.as_user(HOARDER).reading() as reader:
        await history.figures(reader, UUID(int=HOARDER.int + 1_000_000))


OTHER = UUID(int=HOARDER.int + 4)
HOLDER = lease.Holder("a worker", 60)
NEW = {"kind": "image", "prompt": "a cup"}
CASES: dict[str, Any] = {
    "the next is claimed": as_worker(lambda db: lease.claim_next(db, HOLDER, [], lease.Pick.NEW)),
    "one that is due again is claimed": as_worker(lambda db: lease.claim_next(db, HOLDER, [], lease.Pick.AGAIN)),
    "the oldest is claimed": as_worker(lambda db: lease.claim_next(db, HOLDER, [], lease.Pick.OLDEST)),
    "an order is placed": by_http("POST", "/v1/projects", who="other", json=NEW),
    "an order without a project is placed": by_http(
        "POST", "/v1/generations", who="other", json={"operation": "image", "input": {"prompt": "a cup"}}
    ),
    "a project is polled": as_worker(_poll, API_ROLE),
    "projects are listed": by_http("GET", "/v1/projects?limit=20"),
    "generations are listed": by_http("GET", "/v1/generations?limit=20"),
    "the credits are shown": as_worker(_credits, API_ROLE),
    "entries are listed": by_http("GET", "/v1/credits/entries?limit=20"),
    "Explore is shown": by_http("GET", "/v1/explore?limit=20"),
    "who uses a new picture is looked for": as_worker(lambda db: db.run(users_of([new_id()], HOARDER))),
    "an administrator lists generations": by_http("GET", "/v1/admin/generations?limit=20", who="admin"),
    "an administrator lists users": by_http("GET", "/v1/admin/users?limit=20", who="admin"),
}


#: What reads more, and how much of it may be read: what is live is counted, what a filter wants is looked for.
LIMITED: dict[str, tuple[Any, int]] = {
    "the metrics are read": (by_http("GET", "/metrics"), 5 * SCALE.live),
    "projects that failed are listed": (by_http("GET", "/v1/projects?status=failed"), 3 * REACH),
    "generations that failed are listed": (by_http("GET", "/v1/generations?status=failed"), 3 * REACH),
}
#: The same, as soon as Postgres has analyzed the tables, which it does within a minute of many changes.
ONCE_ANALYZED: dict[str, tuple[Any, int]] = {
    "a sweep is made": (as_worker(lambda db: Sweeper(db).sweep()), 10 * BATCH),
    "an administrator looks for failures": (
        by_http("GET", "/v1/admin/generations?status=failed", who="admin"),
        3 * REACH,
    ),
}


@pytest.fixture
async def callers(settings: Settings) -> Mapping[str, str]:
    """API keys of the user with most projects, of another one, and of an administrator."""
    async with acting_as(ADMIN_ROLE, settings) as db:
        found = dict[str, str]()
        for who, user_id in (("hoarder", HOARDER), ("other", OTHER)):
            async with db.transaction() as transaction:
                _, found[who] = await keys.make(transaction, user_id, "a key")
        email = f"admin-{datetime.now(UTC).timestamp()}@example.com"
        _, found["admin"] = await add_user(db, email, admin=True, member=False, credits_given=0, signup_credits=0)
    return found


@pytest.mark.parametrize("what", CASES)
async def test_it_reads_few_rows(settings: Settings, callers: Mapping[str, str], what: str) -> None:
    read = await rows_read(settings, lambda: CASES[what](settings, callers))
    assert read.total() <= FEW, read.most_common(5)


@pytest.mark.parametrize("what", [*LIMITED, *ONCE_ANALYZED])
async def test_it_reads_no_more_than_it_may(
    settings: Settings, callers: Mapping[str, str], what: str, request: pytest.FixtureRequest
) -> None:
    work, most = (LIMITED | ONCE_ANALYZED)[what]
    is_analyzed = "unknown" not in request.node.callspec.id
    read = await rows_read(settings, lambda: work(settings, callers))
    if is_analyzed or what in LIMITED:
        assert read.total() <= most, read.most_common(5)
