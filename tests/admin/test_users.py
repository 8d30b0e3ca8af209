"""Finding users: by what is known of them, page by page, at a cost that doesn't grow with their number."""

from typing import Any
from uuid import UUID, uuid4

import pytest

from tallyframe.accounts import profiles, users
from tallyframe.accounts.identity import Identity
from tallyframe.accounts.users import LOCAL, User
from tallyframe.admin import users as admin_users
from tallyframe.db import Database
from tallyframe.pages import Window
from tests.admin.conftest import Acts
from tests.support.cast import Member
from tests.support.remains import problem
from tests.support.shared import shared_database
from tests.support.working import Bench

database_url = shared_database("test_admin_users")

ISSUER = "https://issuer.example"


async def sign_up(db: Database, subject: str, email: str | None = None, name: str | None = None) -> User:
    async with db.transaction() as transaction:
        return await users.sign_up(transaction, Identity(ISSUER, subject, email, name), 20)


async def found(acts: Acts, query: str, **more: Any) -> list[str]:
    return [user["id"] for user in (await acts.look("users", query=query, limit=100, **more))["data"]]


async def test_a_user_with_all_that_is_known(acts: Acts, alice: Member) -> None:
    await alice.order()
    [row] = (await acts.look("users", query=str(alice.user.id)))["data"]
    email = alice.user.email
    assert row == {
        "id": str(alice.user.id),
        "issuer": LOCAL,
        "subject": email,
        "email": email,
        "display_name": alice.user.display_name,
        "role": "user",
        "is_member": False,
        "created_at": row["created_at"],
        "deleted_at": None,
        "available": 15,
        "active_generations": 1,
    }
    detail = await acts.look(f"users/{alice.user.id}")
    assert detail == {**row, "reserved": 5, "lifetime_granted": 20, "lifetime_spent": 5}
    figures = (await alice.http.get("/v1/credits")).json()
    assert {name: detail[name] for name in figures} == figures


async def test_newest_first(acts: Acts, db: Database) -> None:
    new = [str((await sign_up(db, uuid4().hex)).id) for _ in range(3)]
    rows = (await acts.look("users", limit=3))["data"]
    assert [row["id"] for row in rows] == new[::-1]


async def test_by_address_name_and_subject(acts: Acts, db: Database) -> None:
    mark = uuid4().hex
    user = await sign_up(db, f"user_{mark}", f"Jöhn.{mark}@example.com", f"Zoë {mark} van Dijk")
    for query in (f"N.{mark}@", f"jÖHN.{mark}", f"zoë {mark} VAN", f"user_{mark}", str(user.id), str(user.id).upper()):
        assert await found(acts, query) == [str(user.id)], query
    for query in (f"user_{mark}"[:-1], f"USER_{mark}", f"n_{mark}", f"%{mark}@", str(uuid4())):
        assert await found(acts, query) == [], query


async def test_wildcards_are_just_characters(acts: Acts, db: Database) -> None:
    mark = uuid4().hex[:8]
    odd = {
        sign: str((await sign_up(db, uuid4().hex, name=f"{mark}a{sign}b")).id) for sign in ("%", "_", "\\", "/", "x")
    }
    for sign, user_id in odd.items():
        assert await found(acts, f"{mark}a{sign}b") == [user_id]
    assert set(await found(acts, mark)) == set(odd.values())


async def test_a_subject_that_is_a_uuid_finds_its_user(acts: Acts, db: Database) -> None:
    subject = str(uuid4())
    user = await sign_up(db, subject)
    assert await found(acts, subject) == [str(user.id)]


async def test_the_deleted_are_still_there(acts: Acts, alice: Member, db: Database) -> None:
    never_here = uuid4().hex
    async with db.transaction() as transaction:
        await profiles.delete_user(transaction, LOCAL, str(alice.user.email))
        await profiles.delete_user(transaction, ISSUER, never_here)
    row = await acts.look(f"users/{alice.user.id}")
    assert (row["email"], row["available"], row["deleted_at"] is None) == (None, 20, False)
    # Who has never been here has no account either.
    [user_id] = await found(acts, never_here)
    stranger = await acts.look(f"users/{user_id}")
    assert [stranger[name] for name in ("available", "reserved", "lifetime_granted", "lifetime_spent")] == [0] * 4


async def test_nobody(acts: Acts) -> None:
    problem(await acts.admin.http.get(f"/v1/admin/users/{uuid4()}"), 404, "not_found")
    problem(await acts.admin.http.get("/v1/admin/users/1"), 422, "validation_failed")


async def test_pages_without_gaps_or_repeats_while_users_sign_up(acts: Acts, db: Database) -> None:
    mark = uuid4().hex
    made = [str((await sign_up(db, uuid4().hex, name=f"{mark} {number}")).id) for number in range(7)]
    seen: list[str] = []
    query: dict[str, Any] = {"query": mark, "limit": 3}
    for _ in range(3):
        body = await acts.look("users", **query)
        seen += [user["id"] for user in body["data"]]
        query["cursor"] = body["next_cursor"]
        await sign_up(db, uuid4().hex, name=mark)
    assert (body["next_cursor"], seen) == (None, made[::-1])


async def test_a_page_that_is_just_full_is_the_last(acts: Acts, db: Database) -> None:
    mark = uuid4().hex
    made = [str((await sign_up(db, uuid4().hex, name=mark)).id) for _ in range(3)]
    body = await acts.look("users", query=mark, limit=3)
    assert ([user["id"] for user in body["data"]], body["next_cursor"]) == (made[::-1], None)


async def test_a_search_looks_at_so_many_and_goes_on_with_the_next_page(acts: Acts, db: Database) -> None:
    mark = uuid4().hex
    old = (await sign_up(db, uuid4().hex, name=mark)).id
    for _ in range(7):
        await sign_up(db, uuid4().hex)
    pages, before = [], None
    while True:
        page = await admin_users.listed(db, mark, Window(before, limit=5, reach=3))
        pages.append([row["id"] for row in page.rows])
        before = page.last
        if before is None or old in pages[-1]:
            break
    assert pages == [[], [], [old]]
    # Neither does an id have to be come across.
    page = await admin_users.listed(db, str(old), Window(None, limit=5, reach=3))
    assert ([row["id"] for row in page.rows], page.last) == ([old], None)


async def test_the_end_is_the_end_although_it_is_as_far_as_a_search_looks(acts: Acts, db: Database, owner: Any) -> None:
    count = await owner.fetchval("SELECT count(*) FROM users")
    for reach in (count - 1, count, count + 1):
        seen: list[UUID] = []
        window = Window(None, limit=100, reach=reach)
        while True:
            page = await admin_users.listed(db, "@", window)
            seen += [row["id"] for row in page.rows]
            if page.last is None:
                break
            window = Window(page.last, limit=100, reach=reach)
        query = "SELECT id FROM users WHERE email LIKE '%@%' ORDER BY id DESC"
        assert seen == [row["id"] for row in await owner.fetch(query)]


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"query": ""}, "/query"),
        ({"query": "a\x00b"}, "/query"),
        ({"query": "q" * 201}, "/query"),
        ({"email": "a"}, "/email"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "101"}, "/limit"),
        ({"cursor": "nonsense"}, "/cursor"),
    ],
)
async def test_what_cannot_be_asked(acts: Acts, query: dict[str, str], pointer: str) -> None:
    answer = await acts.admin.http.get("/v1/admin/users", params=query)
    assert [error["pointer"] for error in problem(answer, 422, "validation_failed")["errors"]] == [pointer]


async def test_who_has_something_running(acts: Acts, alice: Member, bench: Bench) -> None:
    await alice.order("[delay:0]")
    assert (await acts.look(f"users/{alice.user.id}"))["active_generations"] == 1
    await bench.drain()
    user = await acts.look(f"users/{alice.user.id}")
    assert (user["active_generations"], user["reserved"], user["lifetime_spent"]) == (0, 0, 5)
