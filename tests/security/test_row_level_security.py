"""The database itself hides other people's rows: no query of the API finds them, with or without an owner filter."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tallyframe.db import ADMIN_ROLE, API_ROLE, WEBHOOKS_ROLE, WORKER_ROLE, Database
from tallyframe.settings import Settings
from tests.conftest import acting_as, owner_of
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.shared import shared_database
from tests.support.working import Bench

database_url = shared_database("test_row_level_security")

#: Every table whose rows belong to users, with the way from a row to its user.
OWNED = {
    "users": "id",
    "accounts": "user_id",
    "api_keys": "user_id",
    "projects": "user_id",
    "generations": "user_id",
    "assets": "user_id",
    "idempotency_keys": "user_id",
    "ledger_entries": "(SELECT user_id FROM accounts WHERE id = account_id)",
    "generation_steps": "(SELECT user_id FROM generations WHERE id = generation_id)",
    "project_images": "(SELECT user_id FROM projects WHERE id = project_id)",
    "project_media": "(SELECT user_id FROM projects WHERE id = project_id)",
    "erased_files": "(SELECT user_id FROM projects WHERE id = project_id)",
}
#: What the API never reads on behalf of a user.
CLOSED = (
    "ai_operations",
    "admin_log",
    "audits",
    "counters",
    "provider_circuits",
    "provider_slots",
    "webhook_events",
    "workers",
    "ledger_digests",
)
#: Tables without rows of users.
OPEN = ("outbox", "alembic_version")


@pytest.fixture
async def api_db(settings: Settings) -> AsyncIterator[Database]:
    async with acting_as(API_ROLE, settings) as database:
        yield database


@pytest.fixture
async def both(alice: Member, bob: Member, bench: Bench, owner: Any) -> None:
    """Alice and bob each have a row in every table; what an earlier test has made is as good."""
    mine = "SELECT count(*) FROM erased_files JOIN projects p ON p.id = project_id WHERE p.user_id = $1"
    for member in (alice, bob):
        if await owner.fetchval(mine, member.user.id):
            continue
        files = {"images": ("a.png", picture(), "image/png")}
        made = await member.http.post("/v1/projects", data={"kind": "image", "prompt": "a cup"}, files=files)
        assert made.status_code == 202, made.text
        values = (member.user.id, uuid4(), UUID(made.json()["id"]))
        await owner.execute("INSERT INTO idempotency_keys VALUES ($1, 'key', '', $2)", values[0], values[1])
        await owner.execute(
            "INSERT INTO erased_files VALUES ($1, $2, 'local', $3)", values[1], values[2], str(values[1])
        )
    await bench.drain()


async def rows(db: Database, sql: str) -> list[Any]:
    return list((await db.run(sa.text(sql))).all())


async def test_every_table_is_placed(owner: Any) -> None:
    tables = await owner.fetch("SELECT tablename, rowsecurity FROM pg_tables WHERE schemaname = 'public'")
    assert {row["tablename"] for row in tables} == {*OWNED, *CLOSED, *OPEN}
    assert {row["tablename"] for row in tables if row["rowsecurity"]} >= set(OWNED)
    forced = await owner.fetch("SELECT relname FROM pg_class WHERE relforcerowsecurity")
    assert {row["relname"] for row in forced} >= set(OWNED)


@pytest.mark.parametrize("table", OWNED)
async def test_a_query_without_an_owner_filter_finds_the_users_own_rows_only(
    both: None, alice: Member, bob: Member, api_db: Database, owner: Any, table: str
) -> None:
    owners = f"SELECT {OWNED[table]} AS owner FROM {table}"  # noqa: S608  # of ours
    everybody = {row["owner"] for row in await owner.fetch(owners)}
    assert everybody >= {alice.user.id, bob.user.id}, "or else this proves nothing"
    for member in (alice, bob):
        assert {row.owner for row in await rows(api_db.as_user(member.user.id), owners)} == {member.user.id}


@pytest.mark.parametrize("table", OWNED)
async def test_on_nobodys_behalf_there_is_nothing(both: None, alice: Member, api_db: Database, table: str) -> None:
    count = f"SELECT count(*) FROM {table}"  # noqa: S608  # of ours
    assert await rows(api_db, count) == [(0,)]
    await rows(api_db.as_user(alice.user.id), count)
    assert await rows(api_db, count) == [(0,)]  # on the same connections, after somebody's turn
    assert await rows(api_db.as_user(uuid4()), count) == [(0,)]


@pytest.mark.parametrize("table", CLOSED)
async def test_what_is_not_for_users_is_closed_to_the_api(alice: Member, api_db: Database, table: str) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        await rows(api_db.as_user(alice.user.id), f"SELECT count(*) FROM {table}")  # noqa: S608  # of ours


async def test_many_users_on_few_connections_never_see_each_other(
    both: None, alice: Member, bob: Member, api_db: Database
) -> None:
    async def look(member: Member) -> bool:
        found = await rows(api_db.as_user(member.user.id), "SELECT user_id FROM projects")
        return {row.user_id for row in found} == {member.user.id}

    assert all(await asyncio.gather(*(look(member) for _ in range(50) for member in (alice, bob))))


STEALING = (
    "UPDATE projects SET prompt = 'mine now' WHERE user_id = '{bob}'",
    "UPDATE generations SET status = 'failed' WHERE user_id = '{bob}'",
    "UPDATE api_keys SET revoked_at = now() WHERE user_id = '{bob}'",
    "DELETE FROM assets WHERE user_id = '{bob}'",
    "DELETE FROM project_images WHERE project_id IN (SELECT id FROM projects WHERE user_id = '{bob}')",
    "DELETE FROM erased_files WHERE project_id IN (SELECT id FROM projects WHERE user_id = '{bob}')",
)


@pytest.mark.parametrize("statement", STEALING)
async def test_other_peoples_rows_cannot_be_changed(
    both: None, alice: Member, bob: Member, api_db: Database, owner: Any, statement: str
) -> None:
    count = "SELECT count(*) FROM erased_files JOIN projects p ON p.id = project_id WHERE p.user_id = $1"
    changed = await api_db.as_user(alice.user.id).run(sa.text(statement.format(bob=bob.user.id)))
    assert changed.rowcount == 0
    assert await owner.fetchval(count, bob.user.id) == 1


FORGING = (
    "INSERT INTO ledger_entries (id, account_id, kind, amount, reference) VALUES ('{id}', '{mine}', 'grant', 5, 'x')",
    """INSERT INTO ledger_entries (id, account_id, kind, amount, reference, reason)
       VALUES ('{id}', '{mine}', 'adjustment', 5, 'x', 'x')""",
    """INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reference)
       VALUES ('{id}', '{theirs}', 'debit', -5, '{generation}', 'x')""",
    "INSERT INTO api_keys (id, user_id, name, secret_hash, last_four) VALUES ('{id}', '{bob}', 'x', 'x', 'x')",
    "INSERT INTO idempotency_keys (user_id, key, fingerprint, ref) VALUES ('{bob}', 'x', 'x', '{id}')",
    "UPDATE projects SET user_id = '{bob}'",
    "UPDATE assets SET user_id = '{bob}'",
    "UPDATE assets SET key = '{key}'",
    "UPDATE projects SET image_asset_id = '{asset}'",
    "UPDATE generations SET credits = 0",
    "UPDATE generations SET project_id = '{project}'",
    "UPDATE generations SET lease_until = NULL, worker = 'x'",
    """INSERT INTO generations (id, project_id, user_id, account_id, operation, input, credits, expires_at)
       VALUES ('{id}', '{project}', '{alice}', '{mine}', 'image', '{{}}', 5, now())""",
    "INSERT INTO erased_files (asset_id, project_id, storage, key) SELECT '{id}', id, 'local', '{key}' FROM projects",
    """INSERT INTO erased_files (asset_id, project_id, storage, key)
       SELECT '{id}', id, 'local', 'generations/{generation}/image-1.png' FROM projects""",
    "INSERT INTO project_images (project_id, position, asset_id) SELECT '{project}', 3, id FROM assets LIMIT 1",
)


@pytest.mark.parametrize("statement", FORGING)
async def test_rows_cannot_be_made_for_others_nor_credits_from_nothing(
    both: None, alice: Member, bob: Member, api_db: Database, owner: Any, statement: str
) -> None:
    theirs = await owner.fetchrow("SELECT id, generation_id FROM projects WHERE user_id = $1 LIMIT 1", bob.user.id)
    file = await owner.fetchrow("SELECT id AS asset, key FROM assets WHERE user_id = $1 LIMIT 1", bob.user.id)
    values = {"id": uuid4(), "bob": bob.user.id, "mine": alice.user.account_id, "theirs": bob.user.account_id}
    values |= {"alice": alice.user.id, **file}
    filled = statement.format(**values, generation=theirs["generation_id"], project=theirs["id"])
    with pytest.raises(DBAPIError, match=r"row-level security|permission denied|of its own user"):
        await api_db.as_user(alice.user.id).run(sa.text(filled))


async def test_a_worker_may_refund_and_move_no_other_credits(alice: Member, settings: Settings) -> None:
    entry = "INSERT INTO ledger_entries (id, account_id, kind, amount, reference) VALUES ('{}', '{}', '{}', {}, 'x')"
    async with acting_as(WORKER_ROLE, settings) as worker:
        for kind, amount in (("grant", 5), ("purchase", 5), ("debit", -5), ("clawback", -5)):
            with pytest.raises(DBAPIError, match=r"row-level security|ck_ledger_entries"):
                await worker.run(sa.text(entry.format(uuid4(), alice.user.account_id, kind, amount)))
        with pytest.raises(DBAPIError, match="permission denied"):
            await worker.run(sa.text("UPDATE users SET role = 'admin'"))


async def test_webhooks_may_sign_up_and_move_no_other_credits(alice: Member, webhooks_db: Database) -> None:
    entry = """
        INSERT INTO ledger_entries (id, account_id, kind, amount, reference)
        VALUES ('{}', '{}', '{}', {}, 'sign-up:{}')"""
    mine, others = alice.user.id, uuid4()
    for kind, amount, user in (
        *(("grant", 5, others), ("purchase", 5, mine), ("adjustment", 5, mine)),
        *(("debit", -5, mine), ("clawback", -5, mine)),
    ):
        with pytest.raises(DBAPIError, match=r"row-level security|ck_ledger_entries"):
            await webhooks_db.run(sa.text(entry.format(uuid4(), alice.user.account_id, kind, amount, user)))
    await webhooks_db.run(sa.text(entry.format(uuid4(), alice.user.account_id, "grant", 5, mine)))  # as a sign-up does
    with pytest.raises(DBAPIError, match="uq_ledger_entries_kind_reference"):
        await webhooks_db.run(sa.text(entry.format(uuid4(), alice.user.account_id, "grant", 5, mine)))


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE users SET role = 'admin'",
        "UPDATE users SET is_member = true",
        "INSERT INTO users (id, issuer, subject, display_name, role) SELECT id, issuer, id, id, role FROM users",
        "INSERT INTO api_keys SELECT * FROM api_keys",
        "UPDATE api_keys SET user_id = gen_random_uuid()",
        "SELECT prompt FROM projects",
        "UPDATE projects SET prompt = 'x'",
        "SELECT input FROM generations",
        "SELECT * FROM ledger_entries",
        "UPDATE accounts SET balance = 5",
        "INSERT INTO webhook_events (source, event_id, type) VALUES ('clerk', 'x', 'x')",
        "DELETE FROM webhook_events",
        "UPDATE webhook_events SET type = 'user.deleted'",
        "INSERT INTO admin_log SELECT * FROM admin_log",
    ],
)
async def test_webhooks_change_what_their_sources_need_and_nothing_else(
    alice: Member, webhooks_db: Database, statement: str
) -> None:
    with pytest.raises(DBAPIError, match="permission denied"):
        await webhooks_db.run(sa.text(statement))


async def test_a_live_generation_of_ones_own_is_not_refunded(alice: Member, api_db: Database, owner: Any) -> None:
    project, before = await alice.order(), await alice.available()
    refund = """
        INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reverses_entry_id, reference)
        SELECT gen_random_uuid(), account_id, 'refund', 5, generation_id, id, reference FROM ledger_entries
        WHERE generation_id = '{}'"""
    with pytest.raises(DBAPIError, match="only what has failed or was canceled"):
        await api_db.as_user(alice.user.id).run(sa.text(refund.format(project["generation"]["id"])))
    assert await alice.available() == before


@pytest.mark.parametrize("role", [API_ROLE, WORKER_ROLE, ADMIN_ROLE])
@pytest.mark.parametrize("function", ["ledger_post", "ledger_apply", "refund_is_due"])
async def test_the_ledgers_functions_cannot_be_put_on_tables_of_ones_own(
    database_url: str, role: str, function: str
) -> None:
    """They run as the owner, so there they would write anybody's balance."""
    async with owner_of(database_url) as connection:
        await connection.execute(f"SET ROLE {role}")
        await connection.execute("CREATE TEMP TABLE mine (LIKE public.ledger_entries)")
        trigger = f"CREATE TRIGGER mine AFTER INSERT ON mine FOR EACH ROW EXECUTE FUNCTION public.{function}()"
        with pytest.raises(asyncpg.InsufficientPrivilegeError, match="permission denied for function"):
            await connection.execute(trigger)


async def test_no_role_can_leave_its_place(database_url: str) -> None:
    for role in (API_ROLE, WORKER_ROLE, WEBHOOKS_ROLE):
        connection = await asyncpg.connect(database_url, server_settings={"role": role})
        for statement in ("ALTER TABLE projects DISABLE ROW LEVEL SECURITY", "DROP POLICY own ON projects"):
            with pytest.raises(asyncpg.InsufficientPrivilegeError):
                await connection.execute(statement)
        await connection.close()
