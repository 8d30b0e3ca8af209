"""What must be true of the books, one query per check.

Tables are named with their schema: otherwise the audit would read other books, if somebody put tables of the same name
elsewhere on the search path. Sums are numeric: an amount that a bigint can't negate or add must be reported, and not
end the audit with an overflow.
"""

from collections.abc import AsyncIterator
from dataclasses import dataclass

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.issue import Issue


@dataclass(frozen=True, slots=True)
class Query:
    """A check in SQL. `about`: the rows that it checks, to be counted; `wrong`: selects (account, what is wrong)."""

    about: str
    wrong: str

    async def find(self, reader: Reader) -> AsyncIterator[Issue]:
        """Stream all that is wrong."""
        async with reader.stream(sa.text(f"{self.wrong} ORDER BY 1, 2")) as rows:
            async for account_id, detail in rows:
                yield account_id, detail


_ACCOUNTS = "public.accounts"
_ENTRIES = "public.ledger_entries"
_REFUNDS = "public.ledger_entries WHERE kind = 'refund'"
_BOUGHT = "public.ledger_entries WHERE generation_id IS NOT NULL"
_GENERATIONS = "public.generations"
_ADJUSTMENTS = "public.ledger_entries WHERE kind = 'adjustment'"

QUERIES: dict[str, Query] = {
    "balance is the sum of the entries": Query(
        _ACCOUNTS,
        """
        SELECT a.id, format('balance %s, entries sum to %s', a.balance, coalesce(e.amount, 0))
        FROM public.accounts a LEFT JOIN (
            SELECT account_id, sum(amount) AS amount FROM public.ledger_entries GROUP BY account_id) e
            ON e.account_id = a.id
        WHERE a.balance::numeric <> coalesce(e.amount, 0)""",
    ),
    "what was spent is the sum of debits and refunds": Query(
        _ACCOUNTS,
        """
        SELECT a.id, format('spent %s, debits and refunds sum to %s', a.spent, coalesce(e.amount, 0))
        FROM public.accounts a LEFT JOIN (
            SELECT account_id, -sum(amount) AS amount FROM public.ledger_entries
            WHERE kind IN ('debit', 'refund') GROUP BY account_id) e
            ON e.account_id = a.id
        WHERE a.spent::numeric <> coalesce(e.amount, 0)""",
    ),
    "every entry follows from the one before": Query(
        _ENTRIES,
        """
        SELECT e.account_id, CASE
                   WHEN e.version <> 1 AND p.version IS NULL
                   THEN format('entry %s: the one before it is missing', e.version)
                   ELSE format('entry %s: balance_after is %s and should be %s', e.version, e.balance_after,
                               coalesce(p.balance_after, 0)::numeric + e.amount) END
        FROM public.ledger_entries e
        LEFT JOIN public.ledger_entries p ON p.account_id = e.account_id AND p.version = greatest(e.version, 0) - 1
        WHERE e.balance_after <> coalesce(p.balance_after, 0)::numeric + e.amount
              OR (p.version IS NULL) <> (e.version = 1)""",
    ),
    "the account's version and head are those of its last entry": Query(
        _ACCOUNTS,
        """
        SELECT a.id, format('version %s, last entry %s', a.version, coalesce(e.version, 0))
        FROM public.accounts a LEFT JOIN LATERAL (
            SELECT version, hash FROM public.ledger_entries WHERE account_id = a.id ORDER BY version DESC LIMIT 1
        ) e ON true
        WHERE a.version <> coalesce(e.version, 0) OR a.head <> coalesce(e.hash, ''::bytea)""",
    ),
    "every refund gives back a debit of the same account and generation, and not more": Query(
        _REFUNDS,
        """
        SELECT r.account_id, format('refund %s of %s for debit %s', r.id, r.amount, coalesce(d.id::text, 'none'))
        FROM public.ledger_entries r LEFT JOIN public.ledger_entries d ON d.id = r.reverses_entry_id
        WHERE r.kind = 'refund' AND (d.id IS NULL OR d.kind <> 'debit' OR d.account_id <> r.account_id
              OR d.generation_id IS DISTINCT FROM r.generation_id OR r.amount > -d.amount::numeric)""",
    ),
    "every generation was debited its price, once": Query(
        _GENERATIONS,
        """
        SELECT g.account_id, format('generation %s costs %s, debited %s%s', g.id, g.credits, coalesce(-d.amount, 0),
                                    CASE WHEN d.times > 1 THEN format(' in %s entries', d.times) END)
        FROM public.generations g LEFT JOIN (
            SELECT generation_id, account_id, count(*) AS times, sum(amount) AS amount
            FROM public.ledger_entries WHERE kind = 'debit' GROUP BY generation_id, account_id) d
            ON d.generation_id = g.id
        WHERE g.credits::numeric IS DISTINCT FROM coalesce(-d.amount, 0) OR d.times > 1
              OR d.account_id <> g.account_id""",
    ),
    "failed and canceled generations are refunded, others are not": Query(
        _GENERATIONS,
        """
        SELECT g.account_id, format('generation %s is %s, refunded %s of %s%s', g.id, g.status, coalesce(r.amount, 0),
                                    g.credits, CASE WHEN r.times > 1 THEN format(' in %s entries', r.times) END)
        FROM public.generations g LEFT JOIN (
            SELECT generation_id, count(*) AS times, sum(amount) AS amount
            FROM public.ledger_entries WHERE kind = 'refund' GROUP BY generation_id) r ON r.generation_id = g.id
        WHERE r.times > 1 OR coalesce(r.amount, 0) IS DISTINCT FROM
              CASE WHEN g.status IN ('failed', 'canceled') THEN g.credits ELSE 0 END::numeric""",
    ),
    "every adjustment has its line in the administrators' log": Query(
        _ADJUSTMENTS,
        """
        SELECT e.account_id,
               format('entry %s: an adjustment of %s without a line in the log', e.version, e.amount)
        FROM public.ledger_entries e JOIN public.accounts a ON a.id = e.account_id
        WHERE e.kind = 'adjustment' AND NOT EXISTS (
            SELECT FROM public.admin_log l
            WHERE l.action = 'adjust_credits' AND l.details ->> 'entry_id' = e.id::text AND l.user_id = a.user_id
                  AND l.details ->> 'amount' = e.amount::text AND l.reason = e.reason)""",
    ),
    "every entry's generation exists and belongs to its account": Query(
        _BOUGHT,
        """
        SELECT e.account_id, format('entry %s: there is no generation %s of this account', e.version, e.generation_id)
        FROM public.ledger_entries e LEFT JOIN public.generations g ON g.id = e.generation_id
        WHERE e.generation_id IS NOT NULL AND g.account_id IS DISTINCT FROM e.account_id""",
    ),
    "every generation's account belongs to its user": Query(
        _GENERATIONS,
        """
        SELECT a.id, format('generation %s belongs to user %s, its account to user %s', g.id, g.user_id, a.user_id)
        FROM public.generations g JOIN public.accounts a ON a.id = g.account_id
        WHERE a.user_id IS DISTINCT FROM g.user_id""",
    ),
}

TOTALS = """
    SELECT count(*), (SELECT count(*) FROM public.ledger_entries), coalesce(sum(balance), 0) FROM public.accounts"""
