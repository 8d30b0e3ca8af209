"""A client: orders, waits, cancels, orders again, publishes and deletes.

A paying request is repeated with the same key until there is a definite answer, 25 times at most. What a client wants
next depends on the seed and on the answers so far.
"""

import asyncio
import random
from dataclasses import dataclass, field, replace
from typing import Any

from chaos.history import FREE, PAYING, History, Line
from chaos.plan import Plan
from chaos.requests import Answer, Requests
from chaos.vendor import marked

_ATTEMPTS = 25  # of one paying request
_AGAIN = (0.2, 1.0)  # seconds before it is repeated
_FORGETS = 0.1  # share of the acknowledged orders that are repeated
_POLLS = 12  # of one project, until its result is there
_MOST_KNOWN = 30  # projects that a client remembers
_CANCELS, _WAITS = 0.15, 0.55  # share of the new orders

#: What a client wants, and how often. The second kind needs a project that the client knows.
_NEW = {"image": 40, "video": 14, "words": 12, "sheet": 8}
_KNOWN = {"film": 10, "again": 8, "cancel": 9, "delete": 6, "publish": 6, "poll": 15}
_PATHS = {"film": "video", "again": "regenerate", "cancel": "cancel", "publish": "publish"}


@dataclass
class Client:
    """One user. `known` are the projects that it remembers, `made` the generations without one."""

    number: int
    requests: Requests
    lot: random.Random
    plan: Plan
    stop: asyncio.Event
    known: list[str] = field(default_factory=list)
    made: list[str] = field(default_factory=list)
    _count: int = 0

    async def run(self) -> None:
        """Send requests until `stop` is set; the one under way is completed."""
        while not self.stop.is_set():
            wants = _NEW | _KNOWN if self.known else _NEW
            wants = wants | ({"delete_generation": 5} if self.made else {})
            await self._do(self.lot.choices(list(wants), list(wants.values()))[0])
            await self._pause(self.plan.think)

    async def _do(self, op: str) -> None:
        if op in _NEW:
            await (self._order_alone(op) if op in FREE else self._order(op))
            return
        if op == "delete_generation":
            generation = self.lot.choice(self.made)
            answer = await self._ask_of(op, generation, "DELETE")
            if answer.line.outcome == "ok":
                self.made.remove(generation)
            return
        project = self.lot.choice(self.known)
        if op in PAYING:
            await self._pay(op, project)
        elif op == "delete":
            answer = await self._ask(op, project, "DELETE", f"/v1/projects/{project}")
            if answer.line.outcome == "ok":
                self.known.remove(project)
        elif op == "poll":
            await self._poll(project)
        else:
            await self._ask(op, project, "POST", f"/v1/projects/{project}/{_PATHS[op]}")

    async def _order(self, kind: str) -> None:
        """Order something new; then often wait for it, sometimes cancel it."""
        answer = await self._pay(kind)
        if answer.line.outcome != "ok":
            return
        project = answer.line.project
        self.known = [*self.known[-_MOST_KNOWN:], project]
        fate = self.lot.random()
        if fate < _CANCELS:
            await self._pause((0.0, 1.5))
            await self._ask("cancel", project, "POST", f"/v1/projects/{project}/cancel")
        elif fate < _CANCELS + _WAITS:
            await self._wait_for(project)

    async def _order_alone(self, operation: str) -> None:
        """Order something that needs no project; then often wait for it, sometimes cancel it."""
        answer = await self._pay(operation)
        if answer.line.outcome != "ok":
            return
        generation = answer.line.generation
        self.made = [*self.made[-_MOST_KNOWN:], generation]
        fate = self.lot.random()
        if fate < _CANCELS:
            await self._pause((0.0, 1.5))
            await self._ask_of("cancel_generation", generation, "POST", "/cancel")
        for _ in range(_POLLS if _CANCELS <= fate < _CANCELS + _WAITS else 0):
            answer = await self._ask_of("poll_generation", generation, "GET")
            if self.stop.is_set() or (answer.line.outcome == "ok" and answer.body["finished_at"]):
                return
            await self._pause((0.3, 1.0))

    async def _wait_for(self, project: str) -> None:
        for _ in range(_POLLS):
            answer = await self._poll(project)
            if self.stop.is_set() or (answer.line.outcome == "ok" and not answer.body["is_generating"]):
                return
            await self._pause((0.3, 1.0))

    async def _pay(self, op: str, project: str = "") -> Answer:
        """Send a paying request, and repeat it until there is a definite answer."""
        self._count += 1
        key = f"{self.plan.seed}-{self.number}-{self._count}"
        path, body = wanted(op, key, project)
        marker = key if body else ""
        line = Line(client=self.number, op=op, key=key, marker=marker, project=project)
        answer = await self.requests.send(line, "POST", path, body)
        while answer.line.attempt < _ATTEMPTS and (answer.line.outcome == "info" or self._forgets(answer)):
            await self._pause(_AGAIN)
            answer = await self.requests.send(replace(line, attempt=answer.line.attempt + 1), "POST", path, body)
        return answer

    def _forgets(self, answer: Answer) -> bool:
        """Tell whether to repeat an acknowledged order, as a client does that crashed just after the answer."""
        return self.plan.checks_idempotency and answer.line.outcome == "ok" and self.lot.random() < _FORGETS

    async def _poll(self, project: str) -> Answer:
        return await self._ask("poll", project, "GET", f"/v1/projects/{project}")

    async def _ask(self, op: str, project: str, method: str, path: str) -> Answer:
        return await self.requests.send(Line(client=self.number, op=op, project=project), method, path)

    async def _ask_of(self, op: str, generation: str, method: str, path: str = "") -> Answer:
        line = Line(client=self.number, op=op, generation=generation)
        return await self.requests.send(line, method, f"/v1/generations/{generation}{path}")

    async def _pause(self, span: tuple[float, float]) -> None:
        await asyncio.sleep(self.lot.uniform(*span))


def wanted(op: str, key: str, project: str) -> tuple[str, dict[str, Any] | None]:
    """Return path and body of a paying request. Its key is also the marker in its prompt, if it has one."""
    if op == "again":
        return f"/v1/projects/{project}/{_PATHS[op]}", None
    body: dict[str, Any] = {"prompt": f"A red cup on a wooden table {marked(key)}"}
    if op in FREE:
        return "/v1/generations", {"operation": op, "input": body}
    if op == "film":
        return f"/v1/projects/{project}/{_PATHS[op]}", body
    return "/v1/projects", {**body, "kind": op, "aspect_ratio": "9:16"}


def client(number: int, key: str, plan: Plan, apis: dict[str, str], history: History, stop: asyncio.Event) -> Client:
    """Return client `number`, with its user's API key."""
    lot = random.Random(f"{plan.seed}:client:{number}")
    requests = Requests(key, apis, history, lot, timeout=plan.client_timeout)
    return Client(number, requests, lot, plan, stop)
