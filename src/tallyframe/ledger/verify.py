"""The audit: works every balance, hash, refund and debit out again from the rows.

However much there is to audit, only a batch of rows is held at a time: problems are counted or streamed, never
collected. The database's own functions are not trusted with the hashes, and the guards are checked as well.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.chain import broken_links
from tallyframe.ledger.checks import QUERIES, TOTALS, Query
from tallyframe.ledger.guards import GUARDS, changed_guards
from tallyframe.ledger.issue import Issue


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that does not add up."""

    account_id: UUID | None  # None: it is about no single account
    check: str
    detail: str


@dataclass(frozen=True, slots=True)
class Summary:
    """What was audited."""

    accounts: int
    entries: int
    balance: int  # credits over all accounts


@dataclass(frozen=True, slots=True)
class Examined:
    """One check's result: how many rows it is about, how many problems there are in all, and the first of them."""

    name: str
    looked_at: int
    wrong: int
    problems: list[Problem]


@dataclass(frozen=True, slots=True)
class Walk:
    """A check in Python. `about`: the rows that it checks, to be counted; `find`: yields all that is wrong."""

    about: str
    find: Callable[[Reader], AsyncIterator[Issue]]


#: Every check by its name, in the order in which they are run.
CHECKS: dict[str, Query | Walk] = {
    **QUERIES,
    "the hash chain holds": Walk("public.ledger_entries", broken_links),
    "the guards are in place": Walk(f"generate_series(1, {len(GUARDS)})", changed_guards),
}


async def examine(reader: Reader, name: str, *, most: int = 20) -> Examined:
    """Run the check of that name (a key of CHECKS) and return its result with the first `most` problems."""
    check = CHECKS[name]
    about = sa.text(f"SELECT count(*) FROM {check.about}")  # noqa: S608  # a constant of ours
    looked_at = (await reader.execute(about)).scalar_one()
    wrong, first = 0, list[Issue]()
    if isinstance(check, Query):
        limited = f"SELECT *, count(*) OVER () FROM ({check.wrong}) AS wrong ORDER BY 1, 2 LIMIT {most:d}"  # noqa: S608
        for account_id, detail, count in (await reader.execute(sa.text(limited))).all():
            wrong = count
            first.append((account_id, detail))
    else:
        async for issue in check.find(reader):
            wrong += 1
            if len(first) < most:
                first.append(issue)
    return Examined(name, looked_at, wrong, [Problem(account_id, name, detail) for account_id, detail in first])


async def verify(reader: Reader) -> AsyncIterator[tuple[str, AsyncIterator[Issue]]]:
    """Yield each check's name with all that it finds, to be read before the next; `reader` must be a snapshot."""
    for name, check in CHECKS.items():
        yield name, check.find(reader)


async def summary(reader: Reader) -> Summary:
    """Count what there is to audit."""
    row = (await reader.execute(sa.text(TOTALS))).one()
    return Summary(row[0], row[1], int(row[2]))
