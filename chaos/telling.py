"""Clerk, another service: it tells of users who come, change and go, and sends each event again until it is taken.

An administrator has events applied again meanwhile, which must change nothing.
"""

import asyncio
import json
import random
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from standardwebhooks.webhooks import Webhook

from chaos.history import Line
from chaos.plan import Plan
from chaos.requests import Answer, Requests

ISSUER = "https://clerk.chaos.invalid"
SECRET = "whsec_" + "Y2hhb3MtY2hhb3MtY2hhb3MtY2hhb3Mt"
PATH = "/v1/webhooks/clerk"
CLIENT = -1  # the number of Clerk in the history; the administrator's is -2
_BORN = 1_795_000_000_000  # milliseconds since 1970
_ATTEMPTS = 25  # of one event
_AGAIN = (0.2, 1.0)  # seconds before it is sent again
_REPEATS, _REPLAYS = 0.2, 0.3  # shares of the events that are sent again although they were taken; that are replayed
_COME, _GO = 0.4, 0.3  # shares of the news that are of somebody new; of the others, that come with a deletion
_MOST_KNOWN = 20  # users of whom there may still be news


@dataclass
class Teller:
    """Clerk. `known` are the users who haven't been deleted, each with how often there was news."""

    requests: Requests
    admin: Requests
    lot: random.Random
    plan: Plan
    stop: asyncio.Event
    known: dict[str, int] = field(default_factory=dict)
    _count: int = 0

    async def run(self) -> None:
        """Tell until `stop` is set, and then, all faults being over, of two more, of whom one is deleted."""
        while not self.stop.is_set():
            await asyncio.gather(*(self._tell(event) for event in self._news()))
            if self.lot.random() < _REPLAYS:
                await self._replay()
            await asyncio.sleep(self.lot.uniform(*self.plan.think))
        for kind, name in (("user.created", "stays"), ("user.created", "goes"), ("user.deleted", "goes")):
            await self._tell((kind, f"user_{self.plan.seed}_{name}", _BORN))

    def _news(self) -> list[tuple[str, str, int]]:
        """Return one to three events, as type, subject and time; several of a user arrive at the same moment."""
        if not self.known or self.lot.random() < _COME:
            self._count += 1
            subject = f"user_{self.plan.seed}_{self._count}"
            self.known = dict(list(self.known.items())[-_MOST_KNOWN:]) | {subject: 0}
            return [("user.created", subject, _BORN)]
        subject = self.lot.choice(list(self.known))
        self.known[subject] += 1
        latest = _BORN + 1000 * self.known[subject]
        news = [("user.updated", subject, latest), ("user.updated", subject, latest - 500)]
        if self.lot.random() < _GO:
            del self.known[subject]
            news.append(("user.deleted", subject, latest))
        return news

    async def _tell(self, event: tuple[str, str, int]) -> None:
        """Send an event until it is taken, and at times once more."""
        kind, subject, at = event
        line = Line(client=CLIENT, op=kind, key=f"msg_{subject}_{kind[5:]}_{at}", marker=subject)
        answer = await send(self.requests, line)
        while answer.line.attempt < _ATTEMPTS and (
            answer.line.outcome == "info" or (answer.line.outcome == "ok" and self.lot.random() < _REPEATS)
        ):
            await asyncio.sleep(self.lot.uniform(*_AGAIN))
            answer = await send(self.requests, replace(line, attempt=answer.line.attempt + 1))

    async def _replay(self) -> None:
        listed = await self.admin.send(Line(client=CLIENT - 1, op="events"), "GET", "/v1/admin/webhooks?limit=20")
        if events := listed.body.get("data"):
            about = self.lot.choice(events)["id"]
            line, why = Line(client=CLIENT - 1, op="replay"), {"reason": "It must change nothing."}
            await self.admin.send(line, "POST", f"/v1/admin/webhooks/{about}/replay", why)


async def send(requests: Requests, line: Line) -> Answer:
    """Send the event of a line, signed as of now."""
    body = event_of(line.op, line.marker, int(line.key.rpartition("_")[2]))
    now = datetime.now(tz=UTC)
    signature = Webhook(SECRET).sign(line.key, now, body)
    headers = {"svix-id": line.key, "svix-timestamp": str(int(now.timestamp())), "svix-signature": signature}
    return await requests.send(line, "POST", PATH, raw=body, headers=headers)


def event_of(kind: str, subject: str, at: int) -> str:
    """Return the body of an event about a user who was last changed at `at`."""
    data: dict[str, Any] = {"id": subject, "object": "user", "deleted": True}
    if kind != "user.deleted":
        address = {"id": "idn_1", "email_address": email_of(subject, at), "verification": {"status": "verified"}}
        data = {"id": subject, "object": "user", "email_addresses": [address], "primary_email_address_id": "idn_1"}
        data |= {"created_at": _BORN, "updated_at": at, "first_name": "Ada", "last_name": subject}
    return json.dumps({"type": kind, "object": "event", "data": data, "timestamp": at})


def email_of(subject: str, at: int) -> str:
    """Return the address that a user had at that time."""
    return f"{subject}.{at}@example.com"
