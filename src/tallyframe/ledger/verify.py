"""The audit: works every balance, chain, refund and debit out again from scratch.

Nothing here holds more than a batch of rows: problems are counted or streamed, never all loaded. The database's own
functions are not trusted with the chain, and the guards that keep the books are looked at as well.
"""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.chain import broken_links
from tallyframe.ledger.checks import QUERIES, TOTALS, Query
from tallyframe.ledger.guards import GUARDS, missing_guards
from tallyframe.ledger.issue import Issue


@dataclass(frozen=True, slots=True)
class Problem:
    """What does not add up, and why: an account, or None when it is about no single one."""

    account_id: UUID | None
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
    """A check that is worked out here: what it is about, to be counted, and the function that finds what is wrong."""

    about: str
    found: Callable[[Reader], AsyncIterator[Issue]]


#: Every check by its name, in the order in which they are run.
CHECKS: dict[str, Query | Walk] = {
    **QUERIES,
    "the hash chain holds": Walk("public.ledger_entries", broken_links),
    "the guards are in place": Walk(f"generate_series(1, {len(GUARDS)})", missing_guards),
}


async def examine(reader: Reader, name: str, *, most: int = 20) -> Examined:
    """Run the check of that name (a key of CHECKS) and return its result with the first `most` problems."""
    check = CHECKS[name]
    about = sa.text(f"SELECT count(*) FROM {check.about}")  # noqa: S608  # a constant of ours
    looked_at = (await reader.execute(about)).scalar_one()
    wrong, first = await (_counted(reader, check, most) if isinstance(check, Query) else _walked(reader, check, most))
    return Examined(name, looked_at, wrong, [Problem(account_id, name, detail) for account_id, detail in first])


async def _counted(reader: Reader, check: Query, most: int) -> tuple[int, list[Issue]]:
    limited = f"SELECT *, count(*) OVER () FROM ({check.wrong}) AS wrong ORDER BY 1, 2 LIMIT {most:d}"  # noqa: S608
    rows = (await reader.execute(sa.text(limited))).all()
    return (rows[0][2] if rows else 0), [(account_id, detail) for account_id, detail, _ in rows]


async def _walked(reader: Reader, check: Walk, most: int) -> tuple[int, list[Issue]]:
    wrong, first = 0, list[Issue]()
    async for found in check.found(reader):
        wrong += 1
        if len(first) < most:
            first.append(found)
    return wrong, first


async def _problems(reader: Reader, check: Query | Walk) -> AsyncIterator[Issue]:
    if isinstance(check, Walk):
        async for found in check.found(reader):
            yield found
        return
    async with reader.stream(sa.text(f"{check.wrong} ORDER BY 1, 2")) as rows:
        async for account_id, detail in rows:
            yield account_id, detail


async def verify(reader: Reader) -> AsyncIterator[tuple[str, AsyncIterator[Issue]]]:
    """Yield each check's name with all that it finds, to be read before the next; `reader` must be a snapshot."""
    for name, check in CHECKS.items():
        yield name, _problems(reader, check)


async def summary(reader: Reader) -> Summary:
    """Count what there is to audit."""
    row = (await reader.execute(sa.text(TOTALS))).one()
    return Summary(row[0], row[1], int(row[2]))
