"""A stand-in for a service that sends webhooks, in the form of a shop: hex HMAC over the very bytes, and no event ids.

shop = Shop()
body = sold("order_1")
await receive(db, {"shop": shop}, "shop", shop.signed(body), body)
assert await effects(owner) == 1
"""

import hashlib
import hmac
import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Transaction
from tallyframe.errors import Unauthenticated
from tallyframe.ids import new_id
from tallyframe.outbox.tables import outbox
from tallyframe.webhooks.base import Event, Outcome, Sources, Verified

EFFECT = "an effect"
SOLD = "order_created"


@dataclass
class Shop:
    """Each event that is applied leaves a row more, whether or not it has been applied before.

    `fails` are raised by the next tries, each after its effect; `meanwhile` is awaited in each, before it ends.
    """

    name: ClassVar[str] = "shop"
    types: ClassVar[frozenset[str]] = frozenset({SOLD})

    secret: bytes = b"the shop's secret"
    fails: list[Exception] = field(default_factory=list)
    meanwhile: Callable[[Event], Awaitable[None]] | None = None

    def signed(self, body: bytes) -> dict[str, str]:
        signature = hmac.new(self.secret, body, hashlib.sha256).hexdigest()
        return {"content-type": "application/json", "x-event-name": SOLD, "x-signature": signature}

    def verify(self, headers: Mapping[str, str], body: bytes) -> Verified:
        given = headers.get("x-signature", "").encode()
        if not hmac.compare_digest(self.signed(body)["x-signature"].encode(), given):
            raise Unauthenticated("The webhook's signature is missing or not valid.")
        return Verified(hashlib.sha256(body).hexdigest(), json.loads(body)["meta"]["event_name"])

    async def apply(self, transaction: Transaction, event: Event) -> Outcome:
        await transaction.execute(sa.insert(outbox).values(kind=EFFECT, ref=new_id()))
        if self.meanwhile:
            await self.meanwhile(event)
        if self.fails:
            raise self.fails.pop(0)
        return Outcome("applied")

    @property
    def sources(self) -> Sources:
        return {self.name: self}


def sold(order: str = "order_1", event: str = SOLD) -> bytes:
    """What the shop sends, with a slash as it writes it."""
    body = {"meta": {"event_name": event}, "data": {"id": order, "receipt": "https://shop.example/r"}}
    return json.dumps(body).replace("/", "\\/").encode()


async def effects(owner: Any) -> int:
    """How many times an event of the shop has been applied."""
    count: int = await owner.fetchval("SELECT count(*) FROM outbox WHERE kind = $1", EFFECT)
    return count


async def the_event(owner: Any) -> Any:
    """The only event that is stored."""
    [row] = await owner.fetch("SELECT * FROM webhook_events")
    return row


async def calls(owner: Any) -> list[UUID]:
    """The events for which workers will be called, or have been."""
    return [row["ref"] for row in await owner.fetch("SELECT ref FROM outbox WHERE kind = 'apply_webhook' ORDER BY ref")]


async def waiting_event(owner: Any, *, source: str = "shop", age: str = "0") -> UUID:
    """Insert an event of the shop's that has been stored so long ago and not been applied; return its id."""
    insert = """
        INSERT INTO webhook_events (id, source, event_id, type, status, body, received_at)
        VALUES ($1, $2, $3, $4, 'received', $5, now() - $6::text::interval)"""
    event_id = new_id()
    await owner.execute(insert, event_id, source, str(event_id), SOLD, sold(str(event_id)), age)
    return event_id
