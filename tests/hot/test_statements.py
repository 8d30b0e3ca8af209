"""Statements of hot paths: for a user's own rows only, and run again without harm when a connection was lost."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from structlog.testing import capture_logs

from tallyframe.db import ADMIN_ROLE, API_ROLE, WORKER_ROLE, AnyRow, Database, Statement
from tallyframe.generations import queries
from tallyframe.hot import STATEMENTS, installing
from tallyframe.ids import new_id
from tallyframe.lost import NotMigrated, sqlstate
from tallyframe.migrate import migrate
from tests.conftest import acting_as
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.working import Bench

FUNCTIONS = """
    SELECT proname, prosecdef, provolatile, obj_description(oid)::date = current_date AS is_of_today,
           has_function_privilege($1, oid, 'EXECUTE') AS mine, has_function_privilege($2, oid, 'EXECUTE') AS a_workers
    FROM pg_proc WHERE pronamespace = 'hot'::regnamespace"""
ECHO: Any = sa.select(
    sa.bindparam("text", type_=sa.Text()).label("text"),
    sa.literal("it's :a $1 %s").label("literal"),
    sa.bindparam("json", type_=JSONB(none_as_null=True)).label("json"),
)


@pytest.fixture
async def api_db(settings: Any) -> AsyncIterator[Database]:
    """As an API process sees the database."""
    async with acting_as(API_ROLE, settings) as database:
        yield database


async def test_each_has_a_function_with_the_callers_rights_for_the_api_alone(owner: Any) -> None:
    found = await owner.fetch(FUNCTIONS, API_ROLE, WORKER_ROLE)
    assert {f"hot.{row['proname']}" for row in found} == {statement.function for statement in STATEMENTS}
    for row in found:
        assert (row["prosecdef"], row["mine"], row["a_workers"], row["is_of_today"]) == (False, True, False, True)


async def test_nobody_finds_anothers_project(alice: Member, bob: Member, api_db: Database) -> None:
    project = UUID((await alice.order())["id"])
    wanted = {"user_id": alice.user.id, "project_id": project}  # as somebody would ask who has got around our checks
    assert await api_db.as_user(alice.user.id).find_with_others(queries.PROJECTS_BY_ID, **wanted)
    assert await api_db.as_user(bob.user.id).find_with_others(queries.PROJECTS_BY_ID, **wanted) is None
    assert await api_db.as_user(new_id()).find_with_others(queries.PROJECT_VERSIONS, **wanted) is None


async def test_whose_rows_there_are_is_forgotten_with_the_statement(alice: Member, database_url: str) -> None:
    project = UUID((await alice.order())["id"])
    narrow = Database(database_url, role=API_ROLE, pool_size=1, statement_timeout=15)
    wanted = {"user_id": alice.user.id, "project_id": project}
    assert await narrow.as_user(alice.user.id).find_with_others(queries.PROJECT_VERSIONS, **wanted)
    assert (await narrow.run(sa.text("SELECT count(*) FROM projects"))).scalar_one() == 0
    await narrow.close()


async def test_parameters_and_constants_arrive_as_they_are(worker_db: Database) -> None:
    echo = Statement[AnyRow]("echo", ECHO, dict)
    sent = {"text": "a'b$2 :c", "json": {"a": [1, None, "ü"]}}
    assert await worker_db.find(echo, **sent) == {**sent, "literal": "it's :a $1 %s"}
    assert await worker_db.find(echo, text=None, json=None) == {"text": None, "json": None, "literal": "it's :a $1 %s"}


async def test_a_version_that_has_not_migrated_says_so(owner: Any, api_db: Database, alice: Member) -> None:
    await owner.execute("DROP SCHEMA hot CASCADE; CREATE SCHEMA hot; GRANT USAGE ON SCHEMA hot TO tallyframe_api")
    with pytest.raises(NotMigrated) as caught:
        await api_db.as_user(alice.user.id).find_with_others(
            queries.PROJECT_VERSIONS, user_id=new_id(), project_id=new_id()
        )
    assert "has not been migrated by this version" in caught.value.words
    assert (await alice.http.post("/v1/projects", json={"kind": "image", "prompt": "a cup"})).status_code == 503


async def test_functions_of_other_versions_stay_for_30_days(owner: Any, database_url: str) -> None:
    for name, days in (("young", 29), ("old", 31)):
        await owner.execute(f"CREATE FUNCTION hot.{name}() RETURNS int LANGUAGE sql RETURN 1")
        made = await owner.fetchval("SELECT (current_date - $1::int)::text", days)
        await owner.execute(f"COMMENT ON FUNCTION hot.{name}() IS '{made}'")
    await asyncio.to_thread(migrate, database_url)
    left = {row["proname"] for row in await owner.fetch(FUNCTIONS, API_ROLE, WORKER_ROLE)}
    assert ("young" in left, "old" in left) == (True, False)
    assert len(left) == len(STATEMENTS) + 1


async def test_an_order_whose_answer_got_lost_is_accepted_once(
    alice: Member, db: Database, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The connection dies after the commit, and the statement is run again: primary keys refuse it."""
    fetch, lost = asyncpg.Connection.fetch, [True]

    async def fetch_and_lose(self: Any, query: str, *given: Any, **how: Any) -> Any:
        rows = await fetch(self, query, *given, **how)
        if ".order" in query and lost:
            lost.pop()
            self.terminate()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return rows

    monkeypatch.setattr(asyncpg.Connection, "fetch", fetch_and_lose)
    for key in (None, "key-1"):
        lost[:] = [True]
        headers = {"Idempotency-Key": key} if key else {}
        answer = await alice.http.post("/v1/projects", json={"kind": "image", "prompt": "a cup"}, headers=headers)
        assert answer.status_code == 202, answer.text
        assert answer.json() == await alice.project(answer.json()["id"])
    assert await alice.available() == 10
    await assert_books_balance(db, owner)


@pytest.mark.parametrize("prompt", ["a cup", "[fail:content_policy] a cup"])
async def test_a_run_whose_answers_get_lost_is_made_once(
    alice: Member, bench: Bench, db: Database, owner: Any, monkeypatch: pytest.MonkeyPatch, prompt: str
) -> None:
    """Each write of the run is committed, and its answer lost, once: it is run again, and finds what it has done."""
    fetch, lost = asyncpg.Connection.fetch, set[str]()
    project = (await alice.order(prompt))["id"]

    async def fetch_and_lose(self: Any, query: str, *given: Any, **how: Any) -> Any:
        rows = await fetch(self, query, *given, **how)
        writes = ("INSERT" in query or "UPDATE" in query) and "chosen" not in query  # else another worker takes it over
        if writes and query not in lost:
            lost.add(query)
            self.terminate()
            raise asyncpg.ConnectionDoesNotExistError("connection was closed in the middle of operation")
        return rows

    monkeypatch.setattr(asyncpg.Connection, "fetch", fetch_and_lose)
    with capture_logs() as logs:
        await bench.drain()
    assert len(lost) >= 4
    assert [line["event"] for line in logs if line["log_level"] == "error"] == []
    assert (await alice.project(project))["status"] == ("failed" if "fail" in prompt else "draft")
    assert await owner.fetchval("SELECT count(*) FROM generation_steps") == 1
    assert await owner.fetchval("SELECT count(*) FROM ai_operations") == 1
    await assert_books_balance(db, owner)


async def test_a_refusal_is_not_tried_again(worker_db: Database) -> None:
    divide = Statement[AnyRow]("divide", sa.select((10 / sa.bindparam("by", type_=sa.Float())).label("tenth")), dict)
    with pytest.raises(asyncpg.DivisionByZeroError) as caught:
        await worker_db.call(divide, by=0.0)
    assert sqlstate(caught.value) == "22012"


def test_making_them_is_text_that_does_not_change() -> None:
    assert list(installing()) == list(installing())
    assert len({statement.function for statement in STATEMENTS}) == len(STATEMENTS)


async def test_who_is_canceled_in_the_middle_gives_the_place_back(database_url: str) -> None:
    narrow = Database(database_url, role=ADMIN_ROLE, pool_size=1, statement_timeout=15)
    sleep = Statement[AnyRow](
        "sleep", sa.select(sa.func.pg_sleep(sa.bindparam("seconds", type_=sa.Float()), type_=sa.Text())), dict
    )
    task = asyncio.create_task(narrow.call(sleep, seconds=60.0))
    await asyncio.sleep(0.2)
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    async with asyncio.timeout(5):
        assert len(await narrow.call(sleep, seconds=0.0)) == 1
    await narrow.close()
