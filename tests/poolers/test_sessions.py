"""With the URL of a pooler, nothing stays on a connection: the next transaction, of anybody, finds it as it was opened.

The connections here are Postgres' own, so that they can be looked at; between two looks, a pooler may hand them on.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import sqlalchemy as sa

from tallyframe.db import ADMIN_ROLE, API_ROLE, USER_SETTING, WEBHOOKS_ROLE, WORKER_ROLE, Database, Transaction
from tallyframe.errors import Unavailable
from tallyframe.generations import queries
from tallyframe.ids import new_id
from tallyframe.servers.outage import Outage
from tests.support.cast import Member
from tests.support.pgbouncer import pooled

#: All that a session may keep, but for its own number and its times.
STATE = """
    SELECT session_user::text, current_user::text,
           (SELECT json_object_agg(name, setting ORDER BY name) FROM pg_settings)::text,
           (SELECT count(*) FROM pg_locks WHERE pid = pg_backend_pid() AND locktype = 'advisory'),
           (SELECT count(*) FROM pg_cursors WHERE is_holdable),
           (SELECT count(*) FROM pg_class WHERE relpersistence = 't'),
           (SELECT count(*) FROM pg_listening_channels()),
           coalesce(current_setting('tallyframe.user_id', true), '')"""
WHOSE = sa.text(f"SELECT coalesce(current_setting('{USER_SETTING}', true), '')")
ALL_PROJECTS = sa.text("SELECT count(*) FROM projects")


def opened(url: str, role: str = API_ROLE, **more: Any) -> Database:
    """A database of one connection, through the URL that a pooler would have."""
    return Database(pooled(url), role=role, **{"pool_size": 1, "statement_timeout": 15, **more})


async def state(db: Database) -> tuple[Any, ...]:
    """What is there for the next one, past all that our own code does before a statement."""
    line = await db._lines.take()
    found = tuple((await line.driver.fetchrow(STATE)).values())
    await db._lines.put_back(line)
    return found


@pytest.fixture
async def api(database_url: str) -> AsyncIterator[Database]:
    database = opened(database_url)
    yield database
    await database.close()


Work = Callable[[Database, UUID], Awaitable[object]]


async def run(db: Database, _: UUID) -> None:
    await db.run(ALL_PROJECTS)


async def run_as_user(db: Database, user: UUID) -> None:
    assert (await db.as_user(user).run(WHOSE)).scalar_one() == str(user)


async def hot_statement(db: Database, user: UUID) -> None:
    await db.as_user(user).find_with_others(queries.PROJECT_VERSIONS, user_id=user, project_id=new_id())


async def failing_hot_statement(db: Database, user: UUID) -> None:
    with pytest.raises(asyncpg.PostgresError):
        await db.as_user(user)._lines.ask(lambda line: line.driver.fetch("SELECT 1 / 0"))


async def transaction(db: Database, user: UUID) -> None:
    async with db.as_user(user).transaction() as mine:
        await local_settings(mine)


async def failing_transaction(db: Database, user: UUID) -> None:
    with suppress(ZeroDivisionError):
        async with db.as_user(user).transaction() as mine:
            await local_settings(mine)
            raise ZeroDivisionError


async def refused_transaction(db: Database, user: UUID) -> None:
    with suppress(sa.exc.DBAPIError):
        async with db.as_user(user).transaction() as mine:
            await local_settings(mine)
            await mine.execute(sa.text("SELECT 1 / 0"))


async def reading(db: Database, user: UUID) -> None:
    async with db.as_user(user).reading() as reader:
        await reader.execute(ALL_PROJECTS)


async def canceled(db: Database, user: UUID) -> None:
    task = asyncio.create_task(db.as_user(user).run(sa.text("SELECT pg_sleep(60)")))
    await asyncio.sleep(0.2)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def local_settings(mine: Transaction) -> None:
    """What our transactions set for themselves."""
    await mine.execute(sa.text("SELECT pg_advisory_xact_lock(1), set_config('lock_timeout', '1', true)"))
    await mine.execute(sa.text("SELECT set_config('search_path', 'pg_catalog', true)"))


WORK: list[Work] = [
    *(run, run_as_user, hot_statement, failing_hot_statement, transaction, failing_transaction),
    *(refused_transaction, reading, canceled),
]


@pytest.mark.parametrize("work", WORK, ids=lambda work: work.__name__)
async def test_nothing_stays(work: Work, api: Database, alice: Member) -> None:
    as_opened = await state(api)
    assert as_opened[:2] == (f"{API_ROLE}_pooled", API_ROLE)
    await work(api, alice.user.id)
    assert await state(api) == as_opened


async def test_the_look_itself_would_find_what_stays(api: Database) -> None:
    as_opened = await state(api)
    await api.run(sa.text("SELECT pg_advisory_lock(1)"))
    assert await state(api) != as_opened
    await api.run(sa.text("SELECT pg_advisory_unlock(1), set_config('lock_timeout', '1', false)"))
    assert await state(api) != as_opened


async def test_it_has_all_that_a_connection_of_our_own_is_given(api: Database, database_url: str) -> None:
    """But for the keep-alives, which are between the server and the pooler."""
    direct = Database(database_url, role=API_ROLE, pool_size=1, statement_timeout=15, lock_patience=3)
    names = ("role", "search_path", "statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    asked = sa.select(*(sa.func.current_setting(name) for name in names))
    assert (await api.run(asked)).one() == (await direct.run(asked)).one()
    await direct.close()


async def test_users_who_take_turns_on_one_connection_see_only_their_own(
    api: Database, alice: Member, bob: Member
) -> None:
    await alice.order()
    for _ in range(2):
        await bob.order()
    for _ in range(5):
        assert (await api.as_user(alice.user.id).run(ALL_PROJECTS)).scalar_one() == 1
        assert (await api.run(ALL_PROJECTS)).scalar_one() == 0
        assert (await api.as_user(bob.user.id).run(ALL_PROJECTS)).scalar_one() == 2


@pytest.mark.parametrize("role", [ADMIN_ROLE, WORKER_ROLE, WEBHOOKS_ROLE])
async def test_each_role_has_a_login(role: str, database_url: str) -> None:
    db = opened(database_url, role)
    assert (await state(db))[:2] == (f"{role}_pooled", role)
    await db.close()


@pytest.mark.parametrize(
    "wrong", ["RESET role", "SET role = 'tallyframe_admin'", "RESET search_path", "SET search_path = pg_temp, public"]
)
async def test_a_login_that_acts_otherwise_is_not_used(wrong: str, database_url: str, owner: Any) -> None:
    login = f"odd_{new_id().hex}"
    await owner.execute(f"CREATE ROLE {login} LOGIN PASSWORD 'password'; GRANT {API_ROLE}, {ADMIN_ROLE} TO {login}")
    await owner.execute(
        f"ALTER ROLE {login} SET role = '{API_ROLE}'; ALTER ROLE {login} SET search_path = public, pg_temp"
    )
    url = pooled(database_url).replace("{role}_pooled", login) + "?application_name={role}"
    outage = Outage("postgres")
    right = Database(url, role=API_ROLE, pool_size=1, statement_timeout=15)
    await right.run(ALL_PROJECTS)
    await right.close()
    await owner.execute(f"ALTER ROLE {login} {wrong}")
    odd = Database(url, role=API_ROLE, pool_size=1, statement_timeout=15, outage=outage)
    with pytest.raises(Unavailable) as caught:
        await odd.run(ALL_PROJECTS)
    assert "act as our role" in caught.value.words  # type: ignore[attr-defined]
    assert await owner.fetchval("SELECT count(*) FROM pg_stat_activity WHERE usename = $1", login) == 0
    await odd.close()
    await owner.execute(f"DROP ROLE {login}")
