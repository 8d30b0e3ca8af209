"""`migrate` where others do the same, where a newer version has been, and where two databases meet at a role."""

import asyncio
import sys
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic import command as alembic
from sqlalchemy.exc import DBAPIError

from tallyframe import migrate as migrating
from tallyframe.embedded import Servers
from tallyframe.migrate import migrate, newest_revision
from tests.conftest import owner_of, with_database
from tests.support.commanding import command

#: What the command does, without the half a second that the command line takes to load.
MIGRATE = "import sys; from tallyframe.migrate import migrate; migrate(sys.argv[1])"


@pytest.fixture
async def empty_url(servers: Servers) -> AsyncIterator[str]:
    async with owner_of(servers.database_url) as owner:
        await owner.execute("CREATE DATABASE quite_empty")
    yield with_database(servers.database_url, "quite_empty")
    async with owner_of(servers.database_url) as owner:
        await owner.execute("DROP DATABASE quite_empty WITH (FORCE)")


async def test_several_at_once_on_an_empty_database(empty_url: str) -> None:
    started = [
        await asyncio.create_subprocess_exec(
            *(sys.executable, "-c", MIGRATE, empty_url), stderr=asyncio.subprocess.PIPE
        )
        for _ in range(3)
    ]
    said = [(await each.communicate())[1].decode() for each in started]
    assert [each.returncode for each in started] == [0, 0, 0], said
    assert set(said) <= {"", "Another migration of this database is at work. Waiting for it.\n"}
    async with owner_of(empty_url) as owner:
        assert await owner.fetchval("SELECT version_num FROM alembic_version") == newest_revision()


async def test_it_waits_for_one_that_is_at_work(
    database_url: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    async with owner_of(database_url) as other:
        assert await other.fetchval("SELECT pg_try_advisory_lock(x'74666D6967726174'::bigint)")
        waiting = asyncio.create_task(asyncio.to_thread(migrate, database_url))
        while "Waiting for it" not in capsys.readouterr().err:
            assert not waiting.done()
            await asyncio.sleep(0.02)
    await waiting


def test_a_database_of_a_newer_version_is_left_alone(
    database_url: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asyncio.run(set_revision(database_url))
    said = command(capsys, "migrate", DATABASE_URL=database_url)
    assert (said.code, said.out) == (1, "")
    assert said.err.startswith("The database is at revision 9999, which this version (")
    assert said.err.count("\n") == 1


async def set_revision(url: str) -> None:
    async with owner_of(url) as owner:
        await owner.execute("UPDATE alembic_version SET version_num = '9999'")


def test_one_that_meets_another_database_at_a_role_is_made_again(
    database_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    made, real = [], alembic.upgrade

    def upgrade(*arguments: Any) -> None:
        made.append(arguments)
        if len(made) == 1:
            raise DBAPIError("GRANT", None, Exception("tuple concurrently updated"))
        real(*arguments)

    monkeypatch.setattr(alembic, "upgrade", upgrade)
    monkeypatch.setattr(migrating, "PAUSE", 0)
    migrate(database_url)
    assert len(made) == 2
