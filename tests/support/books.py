"""The books worked out by hand, in SQL that shares nothing with the code under test."""

import asyncio
from time import monotonic
from typing import Any

from tallyframe.db import Database
from tests.support.audited import audited

BY_HAND = """
    SELECT g.status,
           count(*) AS generations,
           count(*) FILTER (WHERE d.debits = 1 AND d.debited = -g.credits) AS charged_once,
           count(*) FILTER (WHERE d.refunds = 0) AS not_refunded,
           count(*) FILTER (WHERE d.refunds = 1 AND d.refunded = g.credits) AS refunded_once
    FROM generations g CROSS JOIN LATERAL (
        SELECT count(*) FILTER (WHERE kind = 'debit') AS debits, sum(amount) FILTER (WHERE kind = 'debit') AS debited,
               count(*) FILTER (WHERE kind = 'refund') AS refunds,
               sum(amount) FILTER (WHERE kind = 'refund') AS refunded
        FROM ledger_entries WHERE generation_id = g.id) d
    GROUP BY g.status"""


WRONG_BALANCES = """
    SELECT count(*) FROM accounts a
    WHERE balance <> (SELECT sum(amount) FROM ledger_entries WHERE account_id = a.id)"""


async def assert_books_balance(db: Database, owner: Any) -> dict[str, int]:
    """Check every generation by hand and by `ledger verify`; return how many ended how."""
    outcomes = {}
    for row in await owner.fetch(BY_HAND):
        outcomes[row["status"]] = row["generations"]
        assert row["charged_once"] == row["generations"], dict(row)
        refunds = "refunded_once" if row["status"] in {"failed", "canceled"} else "not_refunded"
        assert row[refunds] == row["generations"], dict(row)
    assert await owner.fetchval(WRONG_BALANCES) == 0
    assert await audited(db) == {}
    return outcomes


async def until_all_ended(owner: Any, seconds: float = 120) -> None:
    until = monotonic() + seconds
    while left := await owner.fetchval("SELECT count(*) FROM generations WHERE finished_at IS NULL"):
        assert monotonic() < until, f"{left} generations have not ended"
        await asyncio.sleep(0.1)
