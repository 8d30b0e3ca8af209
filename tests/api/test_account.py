"""Who I am, what I have, what it costs, and my keys: every figure is worked out from the ledger."""

import asyncio
from typing import Any

import httpx
import pytest

from tallyframe.accounts import keys
from tests.support.cast import Member
from tests.support.quick import make_all
from tests.support.remains import problem
from tests.support.working import Bench

ENTRY = {"id", "kind", "amount", "balance_after", "generation_id", "reverses_entry_id", "reason", "created_at"}


async def figures(member: Member) -> tuple[int, int, int, int]:
    found: dict[str, int] = (await member.http.get("/v1/credits")).json()
    assert set(found) == {"available", "reserved", "lifetime_granted", "lifetime_spent"}
    return found["available"], found["reserved"], found["lifetime_granted"], found["lifetime_spent"]


async def test_me(alice: Member) -> None:
    me = (await alice.http.get("/v1/me")).json()
    assert set(me) == {"id", "email", "display_name", "role", "is_member", "created_at"}
    assert (me["id"], me["email"]) == (str(alice.user.id), "alice@example.com")
    assert (me["role"], me["is_member"]) == ("user", False)
    assert "@" not in me["display_name"]


async def test_credits_follow_every_step(alice: Member, bench: Bench) -> None:
    assert await figures(alice) == (20, 0, 20, 0)
    await alice.order()
    film = await alice.order(kind="video")
    assert await figures(alice) == (5, 15, 20, 15)
    await alice.http.post(f"/v1/projects/{film['id']}/cancel")
    assert await figures(alice) == (15, 5, 20, 5)
    await make_all(bench)
    assert await figures(alice) == (15, 0, 20, 5)
    await alice.order("[fail:content_policy] a cup")
    assert await figures(alice) == (10, 5, 20, 10)
    await bench.drain()
    assert await figures(alice) == (15, 0, 20, 5)


async def test_entries_tell_the_story_newest_first(alice: Member, bench: Bench) -> None:
    cup = await alice.order()
    film = await alice.order(kind="video")
    await alice.http.post(f"/v1/projects/{film['id']}/cancel")
    await make_all(bench)
    entries = await alice.entries()
    assert all(set(entry) == ENTRY for entry in entries)
    told = [(entry["kind"], entry["amount"], entry["balance_after"]) for entry in entries]
    assert told == [("refund", 10, 15), ("debit", -10, 5), ("debit", -5, 15), ("grant", 20, 20)]
    refund, film_debit, cup_debit, grant = entries
    assert refund["reverses_entry_id"] == film_debit["id"]
    assert refund["generation_id"] == film_debit["generation_id"] == film["generation"]["id"]
    assert (refund["reason"], cup_debit["generation_id"]) == ("canceled", cup["generation"]["id"])
    assert grant["generation_id"] is None

    paged: list[dict[str, Any]] = []
    cursor = ""
    for number in range(2):
        page = (await alice.http.get(f"/v1/credits/entries?limit=2{cursor}")).json()
        paged += page["data"]
        cursor = f"&cursor={page['next_cursor']}"
        assert (page["next_cursor"] is None) == (number == 1)
        await alice.order()  # new lines don't move the pages
    assert paged == entries


async def test_prices_are_what_is_charged(alice: Member, anybody: httpx.AsyncClient) -> None:
    prices = {item["operation"]: item["credits"] for item in (await anybody.get("/v1/pricing")).json()["data"]}
    assert prices == {"image": 5, "video": 10}
    for kind, price in prices.items():
        before = await alice.available()
        project = await alice.order(kind=kind)
        assert project["generation"]["credits"] == {"quoted": price, "charged": price, "refunded": 0}
        assert await alice.available() == before - price


async def test_a_key_that_is_revoked_while_it_is_looked_up_is_not_remembered(
    alice: Member, anybody: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = (await alice.http.post("/v1/api-keys")).json()
    headers = {"Authorization": f"Bearer {made['secret']}"}
    found, go, real = asyncio.Event(), asyncio.Event(), keys.owner

    async def slow(*what: Any) -> Any:
        owner = await real(*what)
        found.set()
        await go.wait()
        return owner

    await alice.http.get("/v1/me")  # hers is remembered
    monkeypatch.setattr(keys, "owner", slow)
    asking = asyncio.create_task(anybody.get("/v1/me", headers=headers))
    await found.wait()
    assert (await alice.http.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    go.set()
    assert (await asking).status_code == 200  # it began before
    problem(await anybody.get("/v1/me", headers=headers), 401, "unauthenticated")


async def test_keys_come_a_page_at_a_time(alice: Member) -> None:
    made = [(await alice.http.post("/v1/api-keys", json={"name": str(n)})).json()["id"] for n in range(5)]
    pages, cursor = list[list[str]](), ""
    while cursor is not None:
        page = (await alice.http.get(f"/v1/api-keys?limit=2{cursor and '&cursor=' + cursor}")).json()
        pages.append([key["id"] for key in page["data"]])
        cursor = page["next_cursor"]
    assert [len(page) for page in pages] == [2, 2, 2]
    assert [key for page in pages for key in page][:5] == made[::-1]
    problem(await alice.http.get("/v1/api-keys?cursor=x"), 422, "validation_failed")


async def test_a_key_is_shown_once_and_ends_at_once(alice: Member, anybody: httpx.AsyncClient) -> None:
    answer = await alice.http.post("/v1/api-keys", json={"name": "  laptop  "})
    assert answer.status_code == 201
    made = answer.json()
    assert set(made) == {"id", "name", "last_four", "created_at", "secret"}
    assert made["secret"].startswith("tf_")
    assert made["secret"].endswith(made["last_four"])
    assert answer.headers["cache-control"] == "no-store"
    listed = await alice.http.get("/v1/api-keys")
    assert listed.json()["data"][0] == {name: made[name] for name in ("id", "name", "last_four", "created_at")}
    assert made["name"] == "laptop"
    assert made["secret"] not in listed.text
    assert alice.key not in listed.text

    headers = {"Authorization": f"Bearer {made['secret']}"}
    assert (await anybody.get("/v1/me", headers=headers)).json()["id"] == str(alice.user.id)
    assert (await alice.http.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    problem(await anybody.get("/v1/me", headers=headers), 401, "unauthenticated")
    problem(await alice.http.delete(f"/v1/api-keys/{made['id']}"), 404, "not_found")
    assert made["id"] not in (await alice.http.get("/v1/api-keys")).text
    assert (await alice.http.get("/v1/me")).status_code == 200
