"""Events from before they were stored, and processes of the version before that still run beside the new tables."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory

from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.embedded import Servers
from tallyframe.migrate import alembic_config
from tests.conftest import ClientFor, owner_of, with_database
from tests.support.clerk import Clerk, user_event

#: As the version before notes an event, in the transaction that applies it.
NOTE = """
    INSERT INTO webhook_events (source, event_id, type) VALUES ('clerk', $1, 'user.created')
    ON CONFLICT DO NOTHING RETURNING event_id"""
BEFORE = str(ScriptDirectory.from_config(alembic_config()).get_revision("0012").down_revision)


@pytest.fixture
async def older_url(servers: Servers) -> AsyncIterator[str]:
    """A database of the version before."""
    async with owner_of(servers.database_url) as owner:
        await owner.execute("CREATE DATABASE older")
        url = with_database(servers.database_url, "older")
        await asyncio.to_thread(command.upgrade, alembic_config(url), BEFORE)
        yield url
        await owner.execute("DROP DATABASE older WITH (FORCE)")


async def test_what_was_applied_before_the_upgrade_counts_as_applied(older_url: str) -> None:
    async with owner_of(older_url) as owner:
        for name in ("msg_1", "msg_2"):
            await owner.execute(NOTE, name)
    await asyncio.to_thread(command.upgrade, alembic_config(older_url), "head")
    async with owner_of(older_url) as owner:
        rows = await owner.fetch("SELECT id, status, headers::text, body, attempts, error FROM webhook_events")
        assert [tuple(row)[1:] for row in rows] == [("applied", "{}", None, 0, None)] * 2
        assert len({row["id"] for row in rows}) == 2


async def test_an_old_process_and_a_new_one_apply_an_event_once_between_them(
    clerk: Clerk, owner: Any, database_url: str
) -> None:
    async with owner_of(database_url) as old:
        await old.execute(f"SET ROLE {ADMIN_ROLE}")
        assert await old.fetchval(NOTE, "msg_1") == "msg_1"
        assert await clerk.tell(user_event("user.created"), event_id="msg_1") == "replayed"
        assert await clerk.tell(user_event("user.created"), event_id="msg_2") == "applied"
        assert await old.fetchval(NOTE, "msg_2") is None
    assert await owner.fetchval("SELECT count(*) FROM users") == 1


async def test_taking_it_back_keeps_what_was_applied_and_every_line_of_the_log(
    clerk: Clerk, clients: ClientFor, owner: Any, db: Database, database_url: str, admin_key: str
) -> None:
    await clerk.tell(user_event("user.created"), event_id="msg_1")
    await owner.execute("ALTER TABLE users ADD CONSTRAINT shut CHECK (false) NOT VALID")
    assert (await clerk.send(user_event("user.created", "user_2"), event_id="msg_2")).status_code == 500
    await owner.execute("ALTER TABLE users DROP CONSTRAINT shut")
    event_id = await owner.fetchval("SELECT id FROM webhook_events WHERE event_id = 'msg_1'")
    path = f"/v1/admin/webhooks/{event_id}/replay"
    assert (await clients(admin_key).post(path, json={"reason": "to see"})).status_code == 200
    config = alembic_config(database_url)
    await asyncio.to_thread(command.downgrade, config, BEFORE)
    assert [row[0] for row in await owner.fetch("SELECT event_id FROM webhook_events")] == ["msg_1"]
    assert await owner.fetchval("SELECT count(*) FROM outbox") == 0
    line = await owner.fetchrow("SELECT user_id = admin_id, action FROM admin_log")
    assert tuple(line) == (True, "replay_webhook")
    with pytest.raises(Exception, match="append-only"):
        await owner.execute("DELETE FROM admin_log")
    await asyncio.to_thread(command.upgrade, config, "head")
    assert await owner.fetchval("SELECT status FROM webhook_events") == "applied"
