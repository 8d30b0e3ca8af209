"""Reading the books. Every figure comes from entries, never from a flag: an account's are kept by their trigger."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.sql.selectable import LateralFromClause

from tallyframe.db import Reader
from tallyframe.ledger.tables import accounts, ledger_entries


@dataclass(frozen=True, slots=True)
class Figures:
    """An account, in credits."""

    available: int
    lifetime_granted: int
    lifetime_spent: int  # debited and not refunded


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the books, in credits."""

    id: UUID
    kind: str
    amount: int
    balance_after: int
    generation_id: UUID | None
    reverses_entry_id: UUID | None
    reason: str | None
    created_at: datetime


def account_of(user_id: "sa.ColumnElement[UUID] | UUID") -> "sa.ScalarSelect[UUID]":
    """Return the subquery for the account id of a user."""
    return sa.select(accounts.c.id).where(accounts.c.user_id == user_id).scalar_subquery()


async def figures(reader: Reader, account_id: UUID) -> Figures:
    """Return the account's figures."""
    query = sa.select(accounts.c.balance, accounts.c.spent).where(accounts.c.id == account_id)
    row = (await reader.execute(query)).one()
    # All that was given is still there, or was spent.
    return Figures(row.balance, row.balance + row.spent, row.spent)


async def entries(reader: Reader, account_id: UUID, *, before: int | None, limit: int) -> list[tuple[int, Entry]]:
    """Return up to `limit` (version, entry) pairs, newest first, older than version `before`."""
    columns = [ledger_entries.c[name] for name in Entry.__dataclass_fields__]
    query = (
        sa.select(ledger_entries.c.version, *columns)
        .where(ledger_entries.c.account_id == account_id)
        .order_by(ledger_entries.c.version.desc())
        .limit(limit)
    )
    if before is not None:
        query = query.where(ledger_entries.c.version < before)
    return [(row[0], Entry(*row[1:])) for row in (await reader.execute(query)).all()]


async def entry(reader: Reader, entry_id: UUID) -> Entry:
    """Return the entry with this id."""
    columns = [ledger_entries.c[name] for name in Entry.__dataclass_fields__]
    return Entry(*(await reader.execute(sa.select(*columns).where(ledger_entries.c.id == entry_id))).one())


def charges(generation_id: "sa.ColumnElement[Any]") -> LateralFromClause:
    """Return the lateral subquery (charged, refunded), in credits, for a generation's column in an outer query."""
    # There is one row of each kind at most. The indexes that see to it also keep the planner from reading more.
    entry = ledger_entries.c
    mine = sa.select(entry.amount).where(entry.generation_id == generation_id).correlate_except(ledger_entries)
    charged, refunded = (mine.where(_is(ledger_entries, kind)).scalar_subquery() for kind in ("debit", "refund"))
    return sa.select(
        sa.func.coalesce(-charged, 0).label("charged"),
        sa.func.coalesce(refunded, 0).label("refunded"),
    ).lateral("charges")


def charges_between(first: "sa.ColumnElement[UUID]", end: "sa.ColumnElement[UUID]") -> sa.Subquery:
    """Return the subquery (generation_id, charged, refunded), in credits, for generations that were debited.

    Their ids are from `first` on and before `end`. It uses the indexes of debits and refunds; not refunded: null.
    """
    debit, refund = ledger_entries.alias("debit"), ledger_entries.alias("refund")
    is_debit, is_refund = (
        sa.and_(_is(entry, kind), entry.c.generation_id >= first, entry.c.generation_id < end)
        for entry, kind in ((debit, "debit"), (refund, "refund"))
    )
    same = sa.and_(refund.c.generation_id == debit.c.generation_id, is_refund)
    columns = [debit.c.generation_id, (-debit.c.amount).label("charged"), refund.c.amount.label("refunded")]
    return sa.select(*columns).select_from(debit.outerjoin(refund, same)).where(is_debit).subquery("charges")


def refund_entry(generation_id: "sa.ColumnElement[Any]") -> "sa.ScalarSelect[UUID]":
    """Return the subquery for the id of the entry that refunds a generation; null when there is none."""
    of_it = ledger_entries.c.generation_id == generation_id
    return sa.select(ledger_entries.c.id).where(of_it, _is(ledger_entries, "refund")).scalar_subquery()


def _is(entry: sa.FromClause, kind: str) -> "sa.ColumnElement[bool]":
    # Literal, and not bound: the planner uses the partial indexes only if it sees that the query matches them.
    return entry.c.kind == sa.literal_column(f"'{kind}'")
