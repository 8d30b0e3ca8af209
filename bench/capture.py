"""Records the SQL that the API sends, while its own code answers one order and one poll of each kind.

So pgbench always runs the SQL of the current code.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch
from uuid import UUID

import httpx

from bench.cast import Person
from bench.orders import KEY, ORDER
from bench.stack import Stack
from tallyframe.db import Database, Statement as HotStatement
from tallyframe.main import create_app
from tallyframe.settings import load_settings


@dataclass(frozen=True)
class Statement:
    """SQL with `$1`-style parameters, and their values."""

    sql: str
    values: Sequence[Any]


@dataclass(frozen=True)
class Captured:
    """The statements of an accepted order, a full poll and an unchanged poll, and the ids in them."""

    accept: Statement
    poll: Statement
    poll_unchanged: Statement
    person: Person
    project_id: UUID
    generation_id: UUID


async def capture(stack: Stack, person: Person) -> Captured:
    """Place an order and poll it twice, in this process, as `person`."""
    async with _client(stack, person) as client:
        with _recording() as accepting:
            headers = {"Idempotency-Key": KEY}
            project = (await client.post("/v1/projects", json=ORDER, headers=headers)).raise_for_status().json()
        path = f"/v1/projects/{project['id']}"
        with _recording() as polling:
            etag = (await client.get(path)).raise_for_status().headers["ETag"]
        with _recording() as repolling:
            await client.get(path, headers={"If-None-Match": etag})
    for statements in (accepting, polling, repolling):
        if len(statements) != 1:
            raise LookupError(f"{len(statements)} statements were run, not one: adapt the benchmark")
    ids = UUID(project["id"]), UUID(project["generation"]["id"])
    return Captured(accepting[0], polling[0], repolling[0], person, *ids)


@asynccontextmanager
async def _client(stack: Stack, person: Person) -> AsyncIterator[httpx.AsyncClient]:
    app = create_app(load_settings(database_url=stack.database_url, redis_url=stack.servers.redis_url))
    transport, headers = httpx.ASGITransport(app=app), {"Authorization": f"Bearer {person.key}"}
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://bench", headers=headers) as client,
    ):
        yield client


@contextmanager
def _recording() -> Iterator[list[Statement]]:
    """Record every statement of a hot path during the block, as asyncpg gets it."""
    recorded: list[Statement] = []
    real = Database.call

    async def note(db: Database, statement: HotStatement[Any], **parameters: Any) -> list[Any]:  # noqa: ANN401  # as `call`
        values = [encode(parameters[name]) if encode else parameters[name] for name, encode in statement.encoders]
        recorded.append(Statement(statement.sql, values))
        return await real(db, statement, **parameters)

    with patch.object(Database, "call", note):
        yield recorded
