"""The books as of one moment, however long it takes to read them."""

import sqlalchemy as sa

from tallyframe.db import Reader, Transaction

#: Nobody's tables and functions but Postgres' and ours, whatever the role or the database is set to.
_SEARCH_PATH = "pg_catalog, public, pg_temp"


async def snapshot(transaction: Transaction) -> Reader:
    """Turn a transaction that has done nothing yet into a reader that sees one moment, and no later one."""
    await transaction.execute(sa.text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY"))
    await transaction.execute(sa.text(f"SET LOCAL search_path = {_SEARCH_PATH}"))
    return Reader(transaction)
