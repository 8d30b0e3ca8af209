"""Records the SQL that the API sends, while its own code answers one order and one poll of each kind.

So pgbench always runs the SQL of the current code.
"""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import httpx
import sqlalchemy as sa
from sqlalchemy.engine import Engine

from bench.cast import Person
from bench.orders import ORDER
from bench.stack import Stack
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
            project = (await client.post("/v1/projects", json=ORDER)).raise_for_status().json()
        path = f"/v1/projects/{project['id']}"
        with _recording() as polling:
            etag = (await client.get(path)).raise_for_status().headers["ETag"]
        with _recording() as repolling:
            await client.get(path, headers={"If-None-Match": etag})
    accepts = [statement for statement in accepting if "INSERT INTO generations" in statement.sql]
    if len(accepts) != 1:
        raise LookupError(f"{len(accepts)} statements insert a generation, not one: adapt the benchmark")
    ids = UUID(project["id"]), UUID(project["generation"]["id"])
    return Captured(accepts[0], polling[-1], repolling[-1], person, *ids)


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
    """Record every statement during the block, as asyncpg gets it."""
    recorded: list[Statement] = []

    def note(_connection: object, _cursor: object, sql: str, values: Sequence[Any], *_: object) -> None:
        recorded.append(Statement(sql, values))

    sa.event.listen(Engine, "before_cursor_execute", note)
    try:
        yield recorded
    finally:
        sa.event.remove(Engine, "before_cursor_execute", note)
