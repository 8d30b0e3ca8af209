"""user.deleted: nobody signs in as the user any more, nobody sees them, and the books stay as they are."""

import asyncio
from typing import Any

import httpx

from tallyframe.accounts.users import User
from tallyframe.db import Database
from tallyframe.settings import Settings
from tests.conftest import ClientFor, serving
from tests.support.cast import Member
from tests.support.clerk import BORN, Clerk, deleted_event, user_event, with_clerk
from tests.support.jwks import JwksStub
from tests.support.postings import verdict
from tests.support.quick import make_all
from tests.support.remains import problem
from tests.support.working import Bench

ENTRIES = "SELECT * FROM ledger_entries ORDER BY id"


async def key_of(client: httpx.AsyncClient) -> str:
    answer = await client.post("/v1/api-keys", json={"name": "spare"})
    assert answer.status_code == 201, answer.text
    return str(answer.json()["secret"])


async def refused(client: httpx.AsyncClient) -> str:
    body = problem(await client.get("/v1/me"), 401, "unauthenticated")
    return str(body["detail"])


async def published(member: Member, bench: Bench, prompt: str) -> dict[str, Any]:
    project = await member.order(prompt)
    await make_all(bench)
    answer = await member.http.post(f"/v1/projects/{project['id']}/publish")
    assert answer.status_code == 200, answer.text
    shown: dict[str, Any] = answer.json()
    return shown


async def test_tokens_and_keys_stop_at_once(clerk: Clerk, clients: ClientFor, issuer: JwksStub) -> None:
    signed_in = clients(issuer.mint())
    by_key = clients(await key_of(signed_in))
    for client in (signed_in, by_key):
        assert (await client.get("/v1/me")).status_code == 200  # and is remembered now
    assert await clerk.tell(deleted_event()) == "applied"
    assert "deleted" in await refused(signed_in)
    assert "revoked" in await refused(by_key)
    assert "deleted" in await refused(clients(issuer.mint(sid="sess_2", email="new@example.org")))
    assert (await clients(issuer.mint(sub="user_2")).get("/v1/me")).status_code == 200


async def test_other_processes_learn_of_it(
    clerk: Clerk, clients: ClientFor, settings: Settings, issuer: JwksStub
) -> None:
    async with serving(with_clerk(settings, issuer)) as others:
        signed_in, known_there = clients(issuer.mint()), others(issuer.mint())
        key = await key_of(signed_in)
        assert (await known_there.get("/v1/me")).status_code == 200
        assert await clerk.tell(deleted_event()) == "applied"
        await refused(others(key))
        # For a few seconds the other process remembers who it was, but a key that is made then opens nothing.
        late = await key_of(known_there)
        await refused(others(late))
        await refused(clients(late))


async def test_address_and_name_go_and_the_books_stay(
    clerk: Clerk, clients: ClientFor, issuer: JwksStub, owner: Any, db: Database
) -> None:
    await clerk.tell(user_event("user.created"))
    await clients(issuer.mint()).post("/v1/projects", json={"kind": "image", "prompt": "a cup"})
    await owner.execute("UPDATE users SET role = 'admin'")
    before = await owner.fetch(ENTRIES)
    assert len(before) == 2
    assert await clerk.tell(deleted_event()) == "applied"
    row = await owner.fetchrow("SELECT * FROM users")
    assert (row["email"], row["display_name"]) == (None, f"Creator {str(row['id'])[-4:]}")
    assert (row["subject"], row["role"]) == ("user_1", "admin")
    assert row["deleted_at"] > row["created_at"]
    assert await owner.fetch(ENTRIES) == before
    assert await verdict(db) == {}


async def test_what_was_published_is_taken_back(
    clerk: Clerk, clients: ClientFor, issuer: JwksStub, bench: Bench, bob: Member, owner: Any
) -> None:
    client = clients(issuer.mint())
    me = (await client.get("/v1/me")).json()
    user = User(me["id"], me["id"], None, me["display_name"], "user", is_member=False, created_at=me["created_at"])
    hers = await published(Member(user, "", client), bench, "hers")
    await published(bob, bench, "his")
    assert await clerk.tell(deleted_event()) == "applied"
    shown = (await clients(None).get("/v1/explore")).json()["data"]
    assert [project["prompt"] for project in shown] == ["his"]
    row = await owner.fetchrow("SELECT * FROM projects WHERE prompt = 'hers'")
    assert (row["is_published"], row["published_at"], row["status"]) == (False, None, "draft")
    assert row["status_sequence"] == hers["status_sequence"] + 1


async def test_nothing_brings_the_deleted_back(
    clerk: Clerk, clients: ClientFor, issuer: JwksStub, owner: Any, db: Database
) -> None:
    await clerk.tell(user_event("user.created"))
    assert await clerk.tell(deleted_event()) == "applied"
    remains = await owner.fetchrow("SELECT * FROM users")
    for event in (user_event("user.created"), user_event("user.updated", at=BORN + 10**9), deleted_event()):
        assert await clerk.tell(event) == "ignored"
    await refused(clients(issuer.mint()))
    assert await owner.fetchrow("SELECT * FROM users") == remains
    assert await owner.fetchval("SELECT count(*) FROM accounts") == 1
    assert await verdict(db) == {}


async def test_who_was_never_here_can_be_deleted(
    clerk: Clerk, clients: ClientFor, issuer: JwksStub, owner: Any, db: Database
) -> None:
    assert await clerk.tell(deleted_event()) == "applied"
    assert await clerk.tell(user_event("user.created")) == "ignored"
    await refused(clients(issuer.mint(email="ada@example.org", name="Ada")))
    row = await owner.fetchrow("SELECT * FROM users")
    assert (row["subject"], row["email"], row["display_name"][:8]) == ("user_1", None, "Creator ")
    for table in ("accounts", "ledger_entries"):
        assert await owner.fetchval(f"SELECT count(*) FROM {table}") == 0  # noqa: S608  # the names are above
    assert await verdict(db) == {}


async def test_deletion_and_first_token_at_once(
    clerk: Clerk, clients: ClientFor, issuer: JwksStub, owner: Any, db: Database
) -> None:
    for n in range(20):
        subject = f"user_{n}"
        token = clients(issuer.mint(sub=subject))
        asked: list[Any] = [
            clerk.send(deleted_event(subject)),
            token.get("/v1/me"),
            clerk.send(user_event("user.created", subject)),
            clerk.send(deleted_event(subject)),
        ]
        if n % 2:
            asked.reverse()
        statuses = {answer.status_code for answer in await asyncio.gather(*asked)}
        assert statuses <= {200, 401}
        row = await owner.fetchrow("SELECT * FROM users WHERE subject = $1", subject)
        assert row["deleted_at"]
        assert row["email"] is None
    counts = await owner.fetchrow(
        "SELECT (SELECT count(*) FROM accounts) AS accounts, (SELECT count(*) FROM ledger_entries) AS entries"
    )
    assert counts["accounts"] == counts["entries"] <= 20
    assert await verdict(db) == {}
