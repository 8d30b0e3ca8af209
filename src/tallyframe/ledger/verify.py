"""The audit: works every balance, chain, refund and debit out again from scratch, in the database.

Each check is one query that returns the accounts which do not add up, with a sentence saying what is wrong. The
checks scan `ledger_entries` in account order, so they need constant memory here and one sort there.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Reader


@dataclass(frozen=True, slots=True)
class Problem:
    """One account that does not add up, and why."""

    account_id: UUID
    check: str
    detail: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What was audited."""

    accounts: int
    entries: int
    balance: int  # credits over all accounts


CHECKS: dict[str, str] = {
    "balance is the sum of the entries": """
        SELECT a.id, format('balance %s, entries sum to %s', a.balance, coalesce(sum(e.amount), 0))
        FROM accounts a LEFT JOIN ledger_entries e ON e.account_id = a.id
        GROUP BY a.id HAVING a.balance <> coalesce(sum(e.amount), 0)""",
    "every entry follows from the one before": """
        SELECT account_id, format('entry %s: balance_after %s, but %s comes out', version, balance_after, running)
        FROM (SELECT account_id, version, balance_after, sum(amount) OVER w AS running, row_number() OVER w AS position
              FROM ledger_entries WINDOW w AS (PARTITION BY account_id ORDER BY version)) AS e
        WHERE balance_after <> running OR version <> position""",
    "the account's version and head are those of its last entry": """
        SELECT a.id, format('version %s, last entry %s', a.version, coalesce(e.version, 0))
        FROM accounts a LEFT JOIN LATERAL (
            SELECT version, hash FROM ledger_entries WHERE account_id = a.id ORDER BY version DESC LIMIT 1) e ON true
        WHERE a.version <> coalesce(e.version, 0) OR a.head <> coalesce(e.hash, ''::bytea)""",
    "the hash chain holds": """
        SELECT account_id, format('entry %s: its hash does not match its content', version)
        FROM (SELECT e.account_id, e.version, e.hash,
                     ledger_entry_hash(e, coalesce(lag(e.hash) OVER w, ''::bytea)) AS again
              FROM ledger_entries e WINDOW w AS (PARTITION BY e.account_id ORDER BY e.version)) AS e
        WHERE hash <> again""",
    "every refund gives back a debit of the same account and generation, and not more": """
        SELECT r.account_id, format('refund %s of %s for debit %s', r.id, r.amount, coalesce(d.id::text, 'none'))
        FROM ledger_entries r LEFT JOIN ledger_entries d ON d.id = r.reverses_entry_id
        WHERE r.kind = 'refund' AND (d.id IS NULL OR d.kind <> 'debit' OR d.account_id <> r.account_id
              OR d.generation_id IS DISTINCT FROM r.generation_id OR r.amount > -d.amount)""",
    "every generation was debited its price, once": """
        SELECT g.account_id, format('generation %s costs %s, debited %s', g.id, g.credits, coalesce(-d.amount, 0))
        FROM generations g LEFT JOIN ledger_entries d ON d.generation_id = g.id AND d.kind = 'debit'
        WHERE g.credits <> coalesce(-d.amount, 0) OR d.account_id <> g.account_id""",
    "failed and canceled generations are refunded, others are not": """
        SELECT g.account_id,
               format('generation %s is %s, refunded %s of %s', g.id, g.status, coalesce(r.amount, 0), g.credits)
        FROM generations g LEFT JOIN ledger_entries r ON r.generation_id = g.id AND r.kind = 'refund'
        WHERE coalesce(r.amount, 0) <> CASE WHEN g.status IN ('failed', 'canceled') THEN g.credits ELSE 0 END""",
}


_TOTALS = """
    SELECT (SELECT count(*) FROM accounts), (SELECT count(*) FROM ledger_entries), coalesce(sum(balance), 0)
    FROM accounts"""


async def verify(reader: Reader) -> AsyncIterator[tuple[str, list[Problem]]]:
    """Run every check and yield its name with its problems (none, if all is well)."""
    for name, query in CHECKS.items():
        rows = (await reader.execute(sa.text(query))).all()
        yield name, [Problem(account_id, name, detail) for account_id, detail in rows]


async def summary(reader: Reader) -> Summary:
    """Count what there is to audit."""
    row = (await reader.execute(sa.text(_TOTALS))).one()
    return Summary(row[0], row[1], int(row[2]))
