"""Clerk's side of the webhook: events as it sends them, signed as Svix does it, by hand.

clerk = Clerk(client)
assert await clerk.tell(user_event("user.created", "user_1")) == "applied"
"""

import base64
import hashlib
import hmac
import itertools
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import httpx
from pydantic import SecretStr

from tallyframe.settings import Settings
from tests.conftest import ClientFor, serving
from tests.support.jwks import AZP, JwksStub

PATH = "/v1/webhooks/clerk"
BORN = 1_795_000_000_000  # milliseconds since 1970, as all of Clerk's times
_ids = itertools.count(1)

Json = dict[str, Any]


def secret_of(seed: bytes) -> str:
    return "whsec_" + base64.b64encode(hashlib.sha256(seed).digest()[:24]).decode()


SECRET = secret_of(b"the secret of these tests")


def address(email: str = "ada@example.org", *, name: str = "idn_1", status: str | None = "verified") -> Json:
    """A member of `email_addresses`; without a status, one that nobody has tried to verify."""
    verification = {"status": status, "strategy": "email_code"} if status else None
    shown = {"id": name, "object": "email_address", "email_address": email}
    return {**shown, "linked_to": [], "verification": verification}


def user_event(kind: str, subject: str = "user_1", at: int = BORN, **changes: Any) -> Json:
    """A user.created or user.updated about a user who was last changed at `at`."""
    data = {
        "id": subject,
        "object": "user",
        "email_addresses": [address()],
        "primary_email_address_id": "idn_1",
        "first_name": "Ada",
        "last_name": "Lovelace",
        "username": None,
        "image_url": "https://img.clerk.com/x",
        "external_id": None,
        "external_accounts": [],
        "phone_numbers": [],
        "public_metadata": {"role": "admin"},
        "private_metadata": {},
        "unsafe_metadata": {"is_member": True},
        "created_at": BORN,
        "updated_at": at,
        "last_sign_in_at": None,
        "two_factor_enabled": False,
        **changes,
    }
    return _event(kind, data)


def deleted_event(subject: str = "user_1") -> Json:
    return _event("user.deleted", {"deleted": True, "id": subject, "object": "user"})


def other_event(kind: str = "session.created") -> Json:
    return _event(kind, {"id": "sess_1", "object": "session", "user_id": "user_1"})


def _event(kind: str, data: Json) -> Json:
    attributes = {"http_request": {"client_ip": "0.0.0.0", "user_agent": "test"}}  # noqa: S104  # as Clerk has it
    shell = {"object": "event", "event_attributes": attributes, "instance_id": "ins_1", "timestamp": BORN}
    return {"data": data, **shell, "type": kind}


def signature(body: bytes, event_id: str, timestamp: int | str, secret: str = SECRET) -> str:
    """One entry of `svix-signature`."""
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = b".".join((event_id.encode(), str(timestamp).encode(), body))
    return "v1," + base64.b64encode(hmac.digest(key, signed, "sha256")).decode()


def headers(body: bytes, *, event_id: str = "", at: float | None = None, secret: str = SECRET) -> dict[str, str]:
    """The headers that Svix sends with this body, at Unix time `at` (default: now)."""
    event_id, timestamp = event_id or new_event_id(), int(time.time() if at is None else at)
    signed = signature(body, event_id, timestamp, secret)
    return {"svix-id": event_id, "svix-timestamp": str(timestamp), "svix-signature": signed}


def new_event_id() -> str:
    return f"msg_{next(_ids)}"


@dataclass(frozen=True)
class Clerk:
    """Sends events to the app behind `http`."""

    http: httpx.AsyncClient

    async def send(self, event: Json, *, event_id: str = "") -> httpx.Response:
        body = json.dumps(event).encode()
        return await self.http.post(PATH, content=body, headers=headers(body, event_id=event_id))

    async def tell(self, event: Json, *, event_id: str = "") -> str:
        """Send an event that must be taken; return what became of it."""
        answer = await self.send(event, event_id=event_id)
        assert answer.status_code == 200, answer.text
        assert set(answer.json()) == {"status"}
        return str(answer.json()["status"])


def with_clerk(settings: Settings, issuer: JwksStub) -> Settings:
    """The settings of an app that takes `issuer`'s tokens and Clerk's webhooks."""
    sign_in = {"auth_issuer": issuer.issuer, "auth_authorized_parties": (AZP,)}
    return settings.replaced(**sign_in, clerk_webhook_signing_secret=(SecretStr(SECRET),))


@asynccontextmanager
async def clerk_and_clients(settings: Settings, issuer: JwksStub) -> AsyncIterator[tuple[Clerk, ClientFor]]:
    """Serve the app; the block gets Clerk's side and a function from credential to client."""
    async with serving(with_clerk(settings, issuer)) as clients:
        yield Clerk(clients(None)), clients
