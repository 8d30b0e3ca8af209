"""The tables may belong to a login that is no superuser: row-level security then holds for the owner, too."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from alembic import command

from tallyframe.db import Database
from tallyframe.embedded import Servers
from tallyframe.migrate import alembic_config, migrate
from tests.conftest import owner_of, with_database
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.working import Bench
from tests.upgrade.test_upgrade import miscounted

ROLES = "tallyframe_app, tallyframe_api, tallyframe_worker, tallyframe_admin, tallyframe_webhooks"


@pytest.fixture
async def database_url(servers: Servers, template: str) -> AsyncIterator[str]:
    """A database that a plain login owns, which an administrator has prepared."""
    async with owner_of(servers.database_url) as superuser:
        await superuser.execute("CREATE ROLE plain LOGIN PASSWORD 'plain'")
        await superuser.execute(f"GRANT {ROLES} TO plain WITH INHERIT FALSE")
        await superuser.execute("CREATE DATABASE plain OWNER plain")
        server = urlsplit(with_database(servers.database_url, "plain"))
        url = server._replace(netloc=f"plain:plain@{server.netloc.rpartition('@')[2]}").geturl()
        await asyncio.to_thread(migrate, url)
        yield url
        await superuser.execute("DROP DATABASE plain WITH (FORCE)")
        await superuser.execute("DROP ROLE plain")


SPENT = """
    SELECT count(*) FROM accounts
    WHERE spent <> (SELECT coalesce(-sum(amount), 0) FROM ledger_entries
                    WHERE account_id = accounts.id AND kind IN ('debit', 'refund'))"""


async def test_a_migration_changes_all_rows_for_a_plain_owner(
    alice: Member, bench: Bench, owner: Any, database_url: str
) -> None:
    await alice.order("a cup")
    await alice.order("[fail:content_policy] a cup")
    await bench.drain()
    await asyncio.to_thread(command.downgrade, alembic_config(database_url), "0016")
    await owner.execute("SET ROLE tallyframe_webhooks")
    await owner.execute("UPDATE users SET deleted_at = now(), email = NULL")
    await owner.execute("RESET ROLE")
    await asyncio.to_thread(migrate, database_url)
    await owner.execute("SET ROLE tallyframe_admin")
    assert await owner.fetchval("SELECT count(*) FROM users WHERE forgotten_at IS NULL") == 0
    assert await owner.fetchval("SELECT spent FROM accounts") == 5
    assert await owner.fetchval(SPENT) == 0
    assert await miscounted(owner) == []


async def test_the_whole_story_for_a_plain_owner(alice: Member, bench: Bench, db: Database, owner: Any) -> None:
    assert not await owner.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
    await alice.order("a cup")
    await alice.order("[fail:content_policy] a cup")
    await bench.drain()
    assert await alice.available() == 15

    assert await owner.fetchval("SELECT count(*) FROM projects") == 0  # forced: the owner sees none either
    await owner.execute("SET ROLE tallyframe_admin")
    assert await assert_books_balance(db, owner) == {"succeeded": 1, "failed": 1}
