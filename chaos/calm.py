"""After the faults: is every key answered now, and does each API process work?

From now on there is no excuse. A key of unknown outcome must get a definite answer, an acknowledged key the same answer
again, and each API process must be ready and accept an order of each kind that succeeds.
"""

import asyncio
import random
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from time import monotonic
from typing import Any

from chaos.clients import wanted
from chaos.evidence import User
from chaos.history import FREE, History, Line
from chaos.keys import ALONE, Key, keys_of
from chaos.promises import FINAL
from chaos.requests import Answer, Requests
from chaos.stack import Stack

_MOST_ACKNOWLEDGED = 300  # acknowledged keys that are sent again
_TRIES = 12  # of one request: a process may only now notice that its connections are dead
_UNANSWERED = 2  # keys of one client without an answer; after that we skip the client's other keys
_ORDERS = 4  # of one kind at one API process, until one succeeds: a worker's connections may be dead, too
_PAUSE = 0.5  # seconds
_TIMEOUT = 10.0  # seconds for one request
_LONGEST = 60.0  # seconds for one order


@dataclass
class Calm:
    """The phase after the faults. `requests` sends a client's requests, by the client's number."""

    stack: Stack
    history: History
    requests: dict[int, Requests]

    async def ask(self) -> None:
        """Send keys again, and order at every API process. All of it is in the history afterwards."""
        keys = self._keys_to_repeat() if self.stack.plan.checks_idempotency else []
        await asyncio.gather(
            *(self._repeat([key for key in keys if key.client == number]) for number in self.requests),
            *(self._order_at(api) for api in self.stack.apis),
        )

    def _keys_to_repeat(self) -> list[Key]:
        """Return all keys of unknown outcome, and some acknowledged ones."""
        keys = list(keys_of(self.history.lines).values())
        known = [key for key in keys if key.outcome == "ok"]
        lot = random.Random(f"{self.stack.plan.seed}:calm")
        return [key for key in keys if key.outcome == "info"] + lot.sample(known, min(len(known), _MOST_ACKNOWLEDGED))

    async def _repeat(self, keys: list[Key]) -> None:
        """Send each of a client's keys again. Stop early if there are no answers."""
        unanswered = 0
        for key in keys:
            about = key.project if key.op not in ALONE else ""
            path, body = wanted(key.op, key.name, about)
            marker = key.name if body else ""
            line = Line(client=key.client, op=key.op, key=key.name, marker=marker, project=about, calm=True)
            answer = await self._answered(line, "POST", path, body)
            unanswered += answer.line.outcome == "info"
            if unanswered > _UNANSWERED:
                return

    async def _order_at(self, api: str) -> None:
        """Ask one API process whether it is ready, and order one of each kind there."""
        client = max(self.requests)
        await self._answered(Line(client=client, op="ready", api=api, calm=True), "GET", "/readyz")
        await asyncio.gather(*(self._order_until_success(client, api, op) for op in ALONE))

    async def _order_until_success(self, client: int, api: str, op: str) -> None:
        for number in range(_ORDERS):
            key = f"{self.stack.plan.seed}-calm-{api}-{op}-{number}"
            line = Line(client=client, op=op, key=key, marker=key, api=api, calm=True)
            answer = await self._answered(line, "POST", *wanted(op, key, ""))
            if answer.line.outcome == "ok" and await self._has_succeeded(answer.line):
                return

    async def _has_succeeded(self, ordered: Line) -> bool:
        until = monotonic() + _LONGEST
        op, path = "poll", f"/v1/projects/{ordered.project}"
        if ordered.op in FREE:
            op, path = "poll_generation", f"/v1/generations/{ordered.generation}"
        line = replace(ordered, op=op, key="", marker="", attempt=1)
        while monotonic() < until:
            answer = await self._answered(line, "GET", path)
            if answer.line.outcome != "ok" or answer.line.generation_status in FINAL:
                return answer.line.generation_status == "succeeded"
            await asyncio.sleep(_PAUSE)
        return False

    async def _answered(self, line: Line, method: str, path: str, body: dict[str, Any] | None = None) -> Answer:
        """Send a request until there is a definite answer, _TRIES times at most."""
        requests = self.requests[line.client]
        answer = await requests.send(line, method, path, body)
        while answer.line.outcome == "info" and answer.line.attempt < _TRIES:
            await asyncio.sleep(_PAUSE)
            answer = await requests.send(replace(line, attempt=answer.line.attempt + 1), method, path, body)
        return answer


async def ask_when_calm(stack: Stack, history: History, users: list[User]) -> None:
    """Send keys again and order at every API process, as the users."""
    async with AsyncExitStack() as exits:
        requests = {}
        for user in users:
            lot = random.Random(f"{stack.plan.seed}:calm:{user.client}")
            requests[user.client] = Requests(user.key, stack.apis, history, lot, timeout=_TIMEOUT)
            exits.push_async_callback(requests[user.client].aclose)
        await Calm(stack, history, requests).ask()
