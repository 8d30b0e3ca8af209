"""What to insert to move money. The trigger on `ledger_entries` fills in the rest, or refuses.

Each function takes the caller's transaction or returns a statement for it; none commits.
"""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.sql.dml import ReturningInsert

from tallyframe.credits import Credits
from tallyframe.db import Database, Transaction, insert_per_row
from tallyframe.errors import InsufficientCredits
from tallyframe.ids import new_id
from tallyframe.ledger.history import Entry
from tallyframe.ledger.tables import accounts, ledger_entries
from tallyframe.lost import detail, sqlstate

#: The trigger's own SQLSTATE for "this would take the balance below zero"; its DETAIL is the balance.
INSUFFICIENT_CREDITS = "TF402"


async def open_account(transaction: Transaction, user_id: UUID) -> UUID:
    """Insert the user's credit account with a balance of 0 and return its id."""
    account_id = new_id()
    await transaction.execute(sa.insert(accounts).values(id=account_id, user_id=user_id))
    return account_id


async def grant(
    transaction: Transaction, account_id: UUID, amount: Credits, *, reference: str, reason: str | None = None
) -> None:
    """Give `amount` credits. The same `reference` can't be granted twice: that raises sqlalchemy's IntegrityError."""
    await transaction.execute(
        sa.insert(ledger_entries).values(
            id=new_id(), account_id=account_id, kind="grant", amount=amount, reference=reference, reason=reason
        )
    )


def debit(generation: sa.FromClause) -> sa.Insert:
    """Return the insert that takes `credits` from `account_id` for each row of `generation` that costs any.

    Its columns are `id`, `account_id`, `credits` and `entry_id`, a new id.
    """
    row = generation.c
    return insert_per_row(
        ledger_entries,
        generation,
        row.credits > 0,
        id=row.entry_id,
        account_id=row.account_id,
        kind="debit",
        amount=-row.credits,
        generation_id=row.id,
        reference=_generation_reference(row.id),
    )


def refund(
    generation: sa.FromClause, *, entry_id: "sa.ColumnElement[UUID]", reason: "sa.ColumnElement[str]"
) -> sa.Insert:
    """Return the insert that gives back in full what the one row of `generation` was debited; `entry_id` is a new id.

    A generation that cost nothing has no debit, so nothing is inserted for it.
    """
    debits, row = ledger_entries.alias("debits"), generation.c
    return insert_per_row(
        ledger_entries,
        generation.join(debits, sa.and_(debits.c.generation_id == row.id, debits.c.kind == "debit")),
        id=entry_id,
        account_id=debits.c.account_id,
        kind="refund",
        amount=-debits.c.amount,
        generation_id=row.id,
        reverses_entry_id=debits.c.id,
        reference=_generation_reference(row.id),
        reason=reason,
    )


def adjustment(users: sa.FromClause, entry_id: UUID, amount: int, *, reason: str) -> "ReturningInsert[Any]":
    """Return the insert of `amount` credits, negative to take them, for the one row (`id`) of `users`.

    It returns the entry, in the columns of `ledger.history.Entry`. The trigger refuses to take more than there is.
    """
    return insert_per_row(
        ledger_entries,
        users.join(accounts, accounts.c.user_id == users.c.id),
        id=entry_id,
        account_id=accounts.c.id,
        kind="adjustment",
        amount=amount,
        reference=f"adjustment:{entry_id}",
        reason=reason,
    ).returning(*(ledger_entries.c[name] for name in Entry.__dataclass_fields__))


def balance_of(user_id: "sa.ColumnElement[UUID]") -> "sa.ScalarSelect[int]":
    """Return the subquery for the balance, in credits, of a user in an outer query; null without an account."""
    return sa.select(accounts.c.balance).where(accounts.c.user_id == user_id).scalar_subquery()


def _generation_reference(generation_id: "sa.ColumnElement[Any]") -> "sa.ColumnElement[str]":
    return sa.literal("generation:", sa.Text()) + sa.cast(generation_id, sa.Text())


async def available(db: Database, account_id: UUID) -> int:
    """Return the credits that can be spent now."""
    balance: int = (await db.run(sa.select(accounts.c.balance).where(accounts.c.id == account_id))).scalar_one()
    return max(balance, 0)


def insufficient_credits(error: Exception, required: int) -> InsufficientCredits | None:
    """Return the error to answer with when the trigger refused a debit of `required` credits, else None."""
    if sqlstate(error) != INSUFFICIENT_CREDITS:
        return None
    return InsufficientCredits(required=required, available=max(int(detail(error) or 0), 0))
