"""Tidies the log of vendor calls: marks those that died with their worker, and removes those that are too old."""

from datetime import timedelta

import sqlalchemy as sa

from tallyframe.calls import statements
from tallyframe.calls.gate import longest_call
from tallyframe.db import Database

BATCH = 1000  # rows that one statement changes or removes at most


async def tidy(db: Database, call_timeout: float, days: int) -> tuple[int, int]:
    """Do both; return how many calls were marked as abandoned, and how many were removed."""
    return await abandon_lost(db, call_timeout=call_timeout), await prune(db, days=days)


async def abandon_lost(db: Database, *, call_timeout: float) -> int:
    """Mark calls as abandoned that run for longer than `call_timeout` (seconds) allows; return how many."""
    age = timedelta(seconds=longest_call(call_timeout))
    return await _all(db, statements.ABANDON, age)


async def prune(db: Database, *, days: int) -> int:
    """Remove calls older than `days`; return how many."""
    return await _all(db, statements.PRUNE, timedelta(days=days))


async def _all(db: Database, statement: sa.TextClause, age: timedelta) -> int:
    """Go on, batch by batch, until nothing is left: one batch per sweep might be less than what comes in."""
    total = 0
    while changed := (await db.run(statement, {"age": age, "batch": BATCH})).rowcount:
        total += changed
    return total
