"""Accepting and polling over HTTP, each compared with pgbench (same SQL) and a bare route (same web server)."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import httpx

from bench import orders, pgbench
from bench.capture import Captured
from bench.cast import Person, clear, generations
from bench.figures import Figures
from bench.load import Target, load
from bench.orders import ORDER
from bench.stack import Stack


@dataclass(frozen=True)
class Row:
    """A line of the table. `pgbench` and `bare` are the limits that it is compared with."""

    name: str
    found: Figures
    pgbench: Figures | None = None
    bare: Figures | None = None


@dataclass(frozen=True)
class Bench:
    """All that the measurements need; each takes `seconds`."""

    stack: Stack
    api: Target
    bare: Target
    people: Sequence[Person]
    captured: Captured
    seconds: int

    async def accept(self) -> list[Row]:
        """Measure orders per second."""
        requests = [orders.order(person) for person in self.people]
        await load(self.stack, self.api, requests, 202, 1)  # so that Postgres plans with tables that aren't empty
        await clear(self.stack)
        api = await load(self.stack, self.api, requests, 202, self.seconds)
        await clear(self.stack)
        raw = await self._accept_by_pgbench()
        await clear(self.stack)
        bare = await load(self.stack, self.bare, [orders.bare_order()], 202, self.seconds)
        return [
            Row("accept: POST /v1/projects", api, raw, bare),
            Row("accept: pgbench, same SQL", raw),
            Row("accept: bare FastAPI POST", bare),
        ]

    async def poll(self) -> list[Row]:
        """Measure polls per second, of one pending project per user."""
        asked = await self._order_for_each()
        projects = {**self._anybody(), self.captured.project_id: [UUID(project) for _, project, _ in asked]}
        full = [orders.poll(person, project) for person, project, _ in asked]
        unchanged = [orders.poll(*each) for each in asked]
        api = await load(self.stack, self.api, full, 200, self.seconds)
        raw = await pgbench.run(self.stack, self.captured.poll, projects, self.seconds)
        again = await load(self.stack, self.api, unchanged, 304, self.seconds)
        raw_again = await pgbench.run(self.stack, self.captured.poll_unchanged, projects, self.seconds)
        bare = await load(self.stack, self.bare, [orders.bare_poll()], 200, self.seconds)
        return [
            Row("poll: GET, 200", api, raw, bare),
            Row("poll: pgbench, SQL of the 200", raw),
            Row("poll: GET, 304", again, raw_again, bare),
            Row("poll: pgbench, SQL of the 304", raw_again),
            Row("poll: bare FastAPI GET", bare),
        ]

    async def _accept_by_pgbench(self) -> Figures:
        """Run the statement that accepts. Raises RuntimeError if it hasn't accepted an order each time."""
        before = await generations(self.stack)
        found = await pgbench.run(self.stack, self.captured.accept, self._anybody(), self.seconds)
        accepted = await generations(self.stack) - before
        if accepted != found.count:
            raise RuntimeError(f"pgbench has run {found.count} times and placed {accepted} orders")
        return found

    def _anybody(self) -> dict[UUID, Sequence[UUID]]:
        """Return the ids that pgbench draws in place of the captured user and account."""
        users, accounts = zip(*((person.user_id, person.account_id) for person in self.people), strict=True)
        return {self.captured.person.user_id: users, self.captured.person.account_id: accounts}

    async def _order_for_each(self) -> list[tuple[Person, str, str]]:
        """Place an order for each user; return users, project ids and ETags."""
        asked = []
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{self.api.port}") as client:
            for person in self.people:
                headers = {"Authorization": f"Bearer {person.key}"}
                answer = await client.post("/v1/projects", json=ORDER, headers=headers)
                asked.append((person, str(answer.raise_for_status().json()["id"]), answer.headers["ETag"]))
        return asked
