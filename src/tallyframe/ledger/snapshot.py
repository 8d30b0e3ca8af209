"""The books as of one moment, however long it takes to read them."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import sqlalchemy as sa

from tallyframe.db import Reader, Transaction

#: Nobody's functions and operators but Postgres' own, whatever the role or the database is set to. Not even ours: an
#: operator in `public` that fits better than Postgres' would be taken. Tables are named with their schema.
_ONLY_POSTGRES = "search_path = pg_catalog, pg_temp"


async def snapshot(transaction: Transaction) -> Reader:
    """Turn a transaction that has done nothing yet into a reader that sees one moment, and no later one."""
    await transaction.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    await transaction.execute(sa.text(f"SET LOCAL {_ONLY_POSTGRES}"))
    return Reader(transaction)


@asynccontextmanager
async def only_postgres(reader: Reader) -> AsyncIterator[Reader]:
    """Let the reader use Postgres' own functions and operators only, for the block; each statement sees its moment."""
    await reader.execute(sa.text(f"SET {_ONLY_POSTGRES}"))
    try:
        yield reader
    finally:
        if not reader.invalidated:  # a line that is gone has no path
            await reader.execute(sa.text("RESET search_path"))
