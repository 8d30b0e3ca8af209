"""Tidies the log of vendor calls: what died with its worker, and what is too old to be kept."""

from datetime import timedelta

import sqlalchemy as sa

from tallyframe.calls import statements
from tallyframe.calls.gate import longest_call
from tallyframe.db import Database

#: Rows that one statement changes or removes at most.
BATCH = 1000


async def tidy(db: Database, call_timeout: float, days: int) -> tuple[int, int]:
    """Do both; return how many rows were abandoned and removed."""
    return await abandon_lost(db, call_timeout=call_timeout), await prune(db, days=days)


async def abandon_lost(db: Database, *, call_timeout: float) -> int:
    """Mark calls that have run for longer than any may, `call_timeout` in seconds, as abandoned; return how many."""
    age = timedelta(seconds=longest_call(call_timeout))
    return await _all(db, statements.ABANDON, age)


async def prune(db: Database, *, days: int) -> int:
    """Remove records older than `days`; return how many."""
    return await _all(db, statements.PRUNE, timedelta(days=days))


async def _all(db: Database, statement: sa.TextClause, age: timedelta) -> int:
    """Go on, batch by batch, until nothing is left: what comes in by the second must not pile up."""
    total = 0
    while changed := (await db.run(statement, {"age": age, "batch": BATCH})).rowcount:
        total += changed
    return total
