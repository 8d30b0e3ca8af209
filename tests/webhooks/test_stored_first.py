"""What is signed is stored before anything is done about it; what is not signed, or not used here, is not stored."""

import asyncio
import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from tallyframe.db import Database
from tallyframe.errors import Unauthenticated
from tallyframe.webhooks.base import Event, Verified
from tallyframe.webhooks.receive import receive
from tests.support.telling import Shop, calls, effects, sold, the_event

BODY = sold()


async def tell(db: Database, shop: Shop, body: bytes = BODY, **headers: str) -> str:
    return (await receive(db, shop.sources, "shop", {**shop.signed(body), **headers}, body)).status


async def stored(owner: Any) -> int:
    count: int = await owner.fetchval("SELECT count(*) FROM webhook_events")
    return count


async def test_an_event_is_there_with_a_call_for_a_worker_before_it_is_applied(db: Database, owner: Any) -> None:
    seen: list[Any] = []

    async def look(event: Event) -> None:
        row = await the_event(owner)  # on another connection: it has been committed
        assert await calls(owner) == [row["id"]] == [event.id]
        seen.append(row)

    assert await tell(db, Shop(meanwhile=look)) == "applied"
    [before], after = seen, await the_event(owner)
    assert (before["status"], before["attempts"], before["finished_at"]) == ("received", 0, None)
    assert (after["status"], after["attempts"], after["error"]) == ("applied", 1, None)
    assert after["received_at"] == before["received_at"] < after["finished_at"]
    assert (await calls(owner), await effects(owner)) == ([], 1)


async def test_the_call_for_a_worker_leaves_the_process_a_minute(db: Database, owner: Any) -> None:
    late: list[float] = []

    async def look(_: Event) -> None:
        due = "SELECT extract(epoch FROM due_at - now())::float FROM outbox WHERE kind = 'apply_webhook'"
        late.append(await owner.fetchval(due))

    await tell(db, Shop(meanwhile=look))
    assert 50 < late[0] <= 60


async def test_the_bytes_are_kept_as_they_came_and_the_headers_without_credentials(db: Database, owner: Any) -> None:
    secrets = {
        "authorization": "Basic c2VjcmV0",
        "proxy-authorization": "Basic c2VjcmV0",
        "cookie": "session=secret",
        "x-api-key": "secret",
        "x-gateway-token": "secret",
    }
    body = BODY + b" \n"
    await tell(db, Shop(), body, **secrets)
    row = await the_event(owner)
    assert bytes(row["body"]) == body
    assert b"\\/" in body  # or else this proves nothing: parsed and written again, it would be another text
    assert json.loads(row["headers"]) == Shop().signed(body)
    assert "secret" not in repr(row["headers"])


async def test_what_is_forged_is_not_stored(db: Database, owner: Any) -> None:
    shop, other = Shop(), Shop(secret=b"another secret")
    for body, headers in ((BODY, {}), (BODY, other.signed(BODY)), (BODY + b" ", shop.signed(BODY))):
        with pytest.raises(Unauthenticated):
            await receive(db, shop.sources, "shop", headers, body)
    assert (await stored(owner), await calls(owner), await effects(owner)) == (0, [], 0)


async def test_what_is_not_used_here_is_answered_and_not_stored(db: Database, owner: Any) -> None:
    assert await tell(db, Shop(), sold(event="license_key_created")) == "ignored"
    assert (await stored(owner), await calls(owner), await effects(owner)) == (0, [], 0)


async def test_each_event_of_a_sender_without_ids_is_one_of_its_own(db: Database, owner: Any) -> None:
    shop = Shop()
    assert [await tell(db, shop, sold(order)) for order in ("a", "b", "a")] == ["applied", "applied", "replayed"]
    assert (await stored(owner), await effects(owner)) == (2, 2)


async def test_ten_deliveries_at_once_have_one_effect(db: Database, owner: Any) -> None:
    shop = Shop()
    told = await asyncio.gather(*(tell(db, shop) for _ in range(10)))
    assert sorted(told) == ["applied"] + ["replayed"] * 9
    assert (await stored(owner), await calls(owner), await effects(owner)) == (1, [], 1)


class ByOrder(Shop):
    """A sender whose ids say nothing of the body, as Svix' do, and those of a sender that signs only part of it."""

    def verify(self, headers: Mapping[str, str], body: bytes) -> Verified:
        return replace(super().verify(headers, body), event_id=json.loads(body)["data"]["id"])


async def test_of_two_bodies_with_one_id_the_first_counts(db: Database, owner: Any) -> None:
    shop = ByOrder(fails=[RuntimeError("a bug")])
    second = BODY.replace(b"shop.example", b"evil.example")
    with pytest.raises(RuntimeError):
        await tell(db, shop)
    assert await tell(db, shop, second) == "applied"  # the first one, which had been stored
    assert bytes((await the_event(owner))["body"]) == BODY
    assert await tell(db, shop, second) == "replayed"
    assert await effects(owner) == 1
