"""Records the SQL that the API sends while it accepts an order. So pgbench runs the SQL of the current code."""

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import httpx

from bench.cast import Person
from bench.orders import KEY, ORDER
from bench.site import MAX_ACTIVE, Site
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
    """The statement of an accepted order, and who has placed it."""

    accept: Statement
    person: Person


async def capture(site: Site, person: Person) -> Captured:
    """Place an order in this process, as `person`. Raises LookupError if that is not one statement."""
    async with _client(site, person) as client:
        with _recording() as statements:
            headers = {"Idempotency-Key": KEY}
            (await client.post("/v1/projects", json=ORDER, headers=headers)).raise_for_status()
    if len(statements) != 1:
        raise LookupError(f"{len(statements)} statements were run, not one: adapt the benchmark")
    return Captured(statements[0], person)


@asynccontextmanager
async def _client(site: Site, person: Person) -> AsyncIterator[httpx.AsyncClient]:
    servers = {"database_url": site.database_url, "redis_url": site.redis_url}
    app = create_app(load_settings(**servers, max_active_generations=MAX_ACTIVE))
    transport = httpx.ASGITransport(app=app)
    async with (
        app.router.lifespan_context(app),
        httpx.AsyncClient(transport=transport, base_url="http://bench", headers=person.auth) as client,
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
