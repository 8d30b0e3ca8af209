"""A deleted user is forgotten: media, uploads, words and kept answers go; the ledger stays, and balances."""

from typing import Any

import pytest

from tallyframe.accounts import profiles
from tallyframe.db import WORKER_ROLE, Database
from tallyframe.generations.end.forget import forget
from tallyframe.settings import Settings
from tests.conftest import owner_of
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.remains import World
from tests.support.working import Bench

SECRET = "a cup that nobody may know of"
LEFT = """
    SELECT (SELECT count(*) FROM assets) + (SELECT count(*) FROM erased_files) + (SELECT count(*) FROM projects
            WHERE deleted_at IS NULL) + (SELECT count(*) FROM outbox)"""
WORDS = """
    SELECT string_agg(row::text, ' ') FROM (
        SELECT g::text AS row FROM generations g UNION ALL SELECT p::text FROM projects p
        UNION ALL SELECT k::text FROM idempotency_keys k UNION ALL SELECT s::text FROM generation_steps s) AS rows"""
REFUSE = """
    CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'broken'; END $$;
    CREATE TRIGGER refuse BEFORE UPDATE OF deleted_at ON projects FOR EACH ROW EXECUTE FUNCTION refuse()"""


async def delete(db: Database, member: Member) -> None:
    async with db.transaction() as transaction:
        assert await profiles.delete_user(transaction, "local", str(member.user.email)) == member.user.id


async def work_off(bench: Bench, owner: Any) -> None:
    while row := await owner.fetchrow("SELECT kind, ref FROM outbox WHERE kind <> 'run_generation' LIMIT 1"):
        await bench.handle(row["kind"], row["ref"])


@pytest.fixture
async def left_behind(rich: Member, bench: Bench) -> Member:
    """A user with a project, a generation without one, an upload that is used, one that isn't, and a live order."""
    file = {"file": ("a.png", picture(), "image/png")}
    used, _ = [(await rich.http.post("/v1/assets", files=file)).json()["id"] for _ in range(2)]
    key = {"Idempotency-Key": "a key"}
    order = {"kind": "image", "prompt": SECRET, "images": [{"asset_id": used}]}
    assert (await rich.http.post("/v1/projects", json=order, headers=key)).status_code == 202
    alone = {"operation": "image", "input": {"prompt": SECRET}}
    assert (await rich.http.post("/v1/generations", json=alone)).status_code == 202
    await bench.drain()
    await rich.order(SECRET)
    return rich


async def test_whose_project_can_not_be_deleted_yet_is_not_forgotten_yet(
    left_behind: Member, bench: Bench, db: Database, owner: Any
) -> None:
    forgotten = "SELECT forgotten_at IS NOT NULL FROM users WHERE id = $1"
    await delete(db, left_behind)
    await owner.execute("UPDATE users SET deleted_at = now() - interval '1 hour' WHERE deleted_at IS NOT NULL")
    await owner.execute(REFUSE)
    while await forget(bench.db):
        await work_off(bench, owner)
    assert not await owner.fetchval(forgotten, left_behind.user.id)
    await owner.execute("DROP TRIGGER refuse ON projects")
    while await forget(bench.db):
        await work_off(bench, owner)
    assert await owner.fetchval(forgotten, left_behind.user.id)
    assert SECRET not in await owner.fetchval(WORDS)


async def test_all_goes_and_the_ledger_stays(
    left_behind: Member, alice: Member, bench: Bench, db: Database, owner: Any, world: World
) -> None:
    await alice.order("another cup")
    await bench.drain()
    others = await owner.fetchval("SELECT count(*) FROM assets WHERE user_id = $1", alice.user.id)
    entries = await owner.fetchval("SELECT count(*) FROM ledger_entries")
    await left_behind.order(SECRET)
    balance = await left_behind.available()
    await delete(db, left_behind)
    while await forget(bench.db):
        await work_off(bench, owner)
    await work_off(bench, owner)
    assert await owner.fetchval("SELECT forgotten_at FROM users WHERE id = $1", left_behind.user.id) is None
    assert SECRET not in await owner.fetchval(WORDS)
    assert await owner.fetchval("SELECT count(*) FROM assets") == others == len(world.files())
    # The live order was refunded, and no other entry was made or lost: a debit and a refund more than before.
    account = "SELECT balance FROM accounts WHERE user_id = $1"
    assert await owner.fetchval(account, left_behind.user.id) == balance + 5
    assert await owner.fetchval("SELECT count(*) FROM ledger_entries") == entries + 2
    await assert_books_balance(db, owner)

    await owner.execute("UPDATE users SET deleted_at = now() - interval '1 hour' WHERE deleted_at IS NOT NULL")
    assert await forget(bench.db) == 0
    assert await owner.fetchval("SELECT count(*) FROM users WHERE forgotten_at IS NOT NULL") == 1
    assert (await alice.http.get("/v1/projects")).json()["data"][0]["prompt"] == "another cup"


async def test_one_who_cannot_be_forgotten_now_keeps_no_other(
    rich: Member, alice: Member, settings: Settings, db: Database, bench: Bench, owner: Any, database_url: str
) -> None:
    projects = [(await member.order(SECRET))["id"] for member in (rich, alice)]
    await bench.drain()
    for member in (rich, alice):
        await delete(db, member)
    hurried = Database(database_url, role=WORKER_ROLE, pool_size=2, statement_timeout=0.5)
    async with owner_of(database_url) as other, other.transaction():
        await other.execute("SELECT FROM projects WHERE id = $1 FOR UPDATE", projects[0])
        await forget(hurried)
        gone = "SELECT deleted_at IS NOT NULL FROM projects WHERE id = $1"
        assert [await owner.fetchval(gone, each) for each in projects] == [False, True]
    await hurried.close()


async def test_what_is_ordered_in_the_moment_of_the_deletion_goes_too(
    rich: Member, bench: Bench, db: Database, owner: Any, world: World
) -> None:
    await rich.http.get("/v1/me")
    await delete(db, rich)
    assert await forget(bench.db) == 0
    await rich.order(SECRET)  # a process still remembers the key
    await owner.execute("UPDATE users SET deleted_at = now() - interval '1 hour' WHERE deleted_at IS NOT NULL")
    while await forget(bench.db):
        await work_off(bench, owner)
    assert await owner.fetchval("SELECT count(*) FROM users WHERE forgotten_at IS NOT NULL") == 1
    assert (SECRET in await owner.fetchval(WORDS), await owner.fetchval(LEFT), world.files()) == (False, 0, [])
    await assert_books_balance(db, owner)
