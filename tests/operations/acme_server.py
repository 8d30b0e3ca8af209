"""Acme's server, on loopback: checks each request, and answers as its scripts say before it writes."""

import json
from collections import Counter, deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.support.vendor import Reply, Request, Vendor, answer, vendor

KEY = "acme-key-0123456789abcdef"


@dataclass
class AcmeServer:
    """What was asked, and what is said instead of a text; `refuses` is a word in prompts."""

    server: Vendor | None = None
    instead: deque[Reply] = field(default_factory=deque)
    refuses: str = "forbidden"
    orders: list[dict[str, Any]] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    @property
    def bought(self) -> Counter[str]:
        """How often each try was answered with a text, by its key."""
        return Counter(order["key"] for order in self.orders)

    def give(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {KEY}":
            return answer({"error": "who are you?"}, 401)
        if request.path == "/v1/whoami":
            return answer({"name": "tests"})
        if (request.method, request.path) != ("POST", "/v1/write"):
            self.complaints.append(f"{request.method} {request.path}")
        if self.instead:
            return self.instead.popleft()
        order = request.json
        if self.refuses in order["prompt"]:
            return answer({}, 451)
        self.orders.append(order)
        return answer({"text": json.dumps(_text(order["schema"], order["prompt"])), "tokens": 12})


def _text(schema: dict[str, Any], prompt: str) -> dict[str, Any]:
    """Write something in the form of a flat schema."""
    kinds = {"string": f"Acme about {prompt}"[:80], "array": ["one", "two"]}
    return {name: kinds[each["type"]] for name, each in schema["properties"].items()}


@asynccontextmanager
async def acme_server() -> AsyncIterator[AcmeServer]:
    served = AcmeServer()
    async with vendor(served.give) as running:
        served.server = running
        yield served
    assert served.complaints == []
