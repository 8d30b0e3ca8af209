"""No user takes the pool away from the others, and connections that died while they waited cost nobody an error."""

import asyncio
from typing import Any

from tallyframe.settings import Settings
from tests.conftest import ClientFor, enroll, owner_of, serving
from tests.support.cast import Member

LOCK = "SELECT FROM accounts WHERE id = $1 FOR UPDATE"
WAITING = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
CUT = """
    SELECT pg_terminate_backend(pid) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid()"""


async def test_orders_of_one_user_that_wait_for_a_lock_stop_nobody_else(
    rich: Member, alice: Member, bob: Member, owner: Any, database_url: str
) -> None:
    async with owner_of(database_url) as other, other.transaction():
        await other.execute(LOCK, rich.user.account_id)
        order = {"kind": "image", "prompt": "a"}
        waiting = [asyncio.create_task(rich.http.post("/v1/projects", json=order)) for _ in range(20)]
        while await owner.fetchval(WAITING) < 2:  # of the 8 that the pool has in tests
            await asyncio.sleep(0.02)
        for member in (alice, bob):
            assert (await member.http.get("/v1/projects")).status_code == 200
            await member.order()
        assert await owner.fetchval(WAITING) == 2
    codes = [answer.status_code for answer in await asyncio.gather(*waiting)]
    assert set(codes) <= {202, 503}
    assert codes.count(202) >= 2


async def test_administrators_who_wait_for_a_lock_stop_nobody_else(
    rich: Member, alice: Member, client_for: ClientFor, db: Any, owner: Any, database_url: str
) -> None:
    root = await enroll(db, client_for, "root@example.com", 0, admin=True)
    given = {"amount": 1, "reason": "a test"}
    async with owner_of(database_url) as other, other.transaction():
        await other.execute(LOCK, rich.user.account_id)
        credits_of_rich = f"/v1/admin/users/{rich.user.id}/credits"
        waiting = [asyncio.create_task(root.http.post(credits_of_rich, json=given)) for _ in range(12)]
        while await owner.fetchval(WAITING) < 2:  # of the 4 that nobody's work has
            await asyncio.sleep(0.02)
        assert (await alice.http.get("/v1/me")).status_code == 200
        assert (await client_for(None).get("/v1/explore")).status_code == 200
        assert await owner.fetchval(WAITING) == 2
    codes = [answer.status_code for answer in await asyncio.gather(*waiting)]
    assert set(codes) <= {201, 503}
    assert codes.count(201) >= 2


async def test_several_users_that_wait_for_locks_stop_nobody_for_long(
    rich: Member, alice: Member, bob: Member, client_for: ClientFor, db: Any, owner: Any, database_url: str
) -> None:
    carol, dave = [await enroll(db, client_for, f"{name}@example.com", 100) for name in ("carol", "dave")]
    order = {"kind": "image", "prompt": "a"}
    async with owner_of(database_url) as other, other.transaction():
        for member in (rich, carol, dave, bob):
            await other.execute(LOCK, member.user.account_id)
        waiting = [
            asyncio.create_task(member.http.post("/v1/projects", json=order))
            for member in (rich, carol, dave, bob)
            for _ in range(6)
        ]
        while await owner.fetchval(WAITING) < 8:  # all that the pool has
            await asyncio.sleep(0.02)
        assert (await alice.http.get("/v1/projects")).status_code == 200  # after three seconds at most
        assert await owner.fetchval(WAITING) > 0
    await asyncio.gather(*waiting)


async def test_when_postgres_is_well_again_nobody_is_told_otherwise(
    settings: Settings, db: Any, owner: Any, client_for: ClientFor
) -> None:
    members = [await enroll(db, client_for, f"{n}@example.com", 20) for n in range(24)]
    async with serving(settings.replaced(database_pool_size=4)) as fresh_for:
        for half in (members[:12], members[12:]):  # fills all pools, and finds their connections dead the second time
            clients = [fresh_for(member.key) for member in half]
            answers = await asyncio.gather(
                *(client.get(path) for client in clients for path in ("/v1/me", "/v1/projects", "/v1/explore")),
                clients[0].get("/metrics"),
            )
            assert {answer.status_code for answer in answers} == {200}
            await owner.execute(CUT)
