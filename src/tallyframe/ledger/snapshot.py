"""The books as of one moment, however long it takes to read them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from tallyframe.db import Reader, Transaction

#: Find Postgres' own functions and operators only, whatever the role or the database is set to. `public` is left out,
#: too: an operator there that fits better than Postgres' would be preferred. Queries name tables with their schema.
_ONLY_POSTGRES = "search_path = pg_catalog, pg_temp"


async def snapshot(transaction: Transaction) -> Reader:
    """Turn a transaction that has done nothing yet into a reader of the books as they are now, whatever comes later."""
    await transaction.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    await transaction.execute(sa.text(f"SET LOCAL {_ONLY_POSTGRES}"))
    return Reader(transaction)


@asynccontextmanager
async def only_postgres(reader: Reader) -> AsyncIterator[Reader]:
    """Let the block use Postgres' own functions and operators only. Each statement sees the books as of its start."""
    await reader.execute(sa.text(f"SET {_ONLY_POSTGRES}"))
    try:
        yield reader
    finally:
        if not reader.invalidated:  # a lost connection takes its settings along
            await reader.execute(sa.text("RESET search_path"))
