"""The SQL that the API sends, taken down while its own code answers one order and one poll of each kind.

So pgbench runs what the API runs, whatever becomes of that code.
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
    """The statement that accepts an order, those of a full and of an unchanged poll, and the ids in them."""

    accept: Statement
    poll: Statement
    poll_unchanged: Statement
    person: Person
    project_id: UUID
    generation_id: UUID


async def capture(stack: Stack, person: Person) -> Captured:
    """Place an order and poll it twice, in this process, as `person`."""
    async with _client(stack, person) as client:
        with _listening() as accepting:
            project = (await client.post("/v1/projects", json=ORDER)).raise_for_status().json()
        path = f"/v1/projects/{project['id']}"
        with _listening() as polling:
            etag = (await client.get(path)).raise_for_status().headers["ETag"]
        with _listening() as repolling:
            await client.get(path, headers={"If-None-Match": etag})
    ids = UUID(project["id"]), UUID(project["generation"]["id"])
    return Captured(_one(accepting, "INSERT INTO generations"), _last(polling), _last(repolling), person, *ids)


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
def _listening() -> Iterator[list[Statement]]:
    """Take down every statement of the block, as it goes to asyncpg."""
    heard: list[Statement] = []

    def note(_connection: object, _cursor: object, sql: str, values: Sequence[Any], *_: object) -> None:
        heard.append(Statement(sql, values))

    sa.event.listen(Engine, "before_cursor_execute", note)
    try:
        yield heard
    finally:
        sa.event.remove(Engine, "before_cursor_execute", note)


def _one(statements: list[Statement], words: str) -> Statement:
    found = [statement for statement in statements if words in statement.sql]
    if len(found) != 1:
        raise LookupError(f"{len(found)} statements with {words!r}, not one: the benchmark must be taught")
    return found[0]


def _last(statements: list[Statement]) -> Statement:
    return statements[-1]
