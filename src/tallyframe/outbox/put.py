"""The outbox row, in the caller's transaction: the work and its wake-up call are written together or not at all."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.db import Transaction
from tallyframe.outbox.tables import outbox


def put(kind: str, source: sa.FromClause, due_at: "sa.ColumnElement[Any] | None" = None) -> sa.Insert:
    """Return the insert of a call of `kind` for the `id` of each row of `source`, due now or at `due_at`.

    A call that is already there stays as it is.
    """
    when = sa.func.clock_timestamp() if due_at is None else due_at
    row = sa.select(sa.literal(kind, sa.Text()), source.c.id, when).select_from(source)
    return postgresql.insert(outbox).from_select(["kind", "ref", "due_at"], row).on_conflict_do_nothing()


def taken(kind: str, source: sa.FromClause) -> sa.Delete:
    """Return the delete of the call of `kind` for each row of `source`: somebody has taken the work up."""
    return sa.delete(outbox).where(outbox.c.kind == kind, outbox.c.ref == sa.select(source.c.id).scalar_subquery())


def missing(kind: str, ref: "sa.ColumnElement[UUID]") -> "sa.ColumnElement[bool]":
    """Return the condition that there is no call of `kind` for `ref`."""
    return ~sa.exists().where(outbox.c.kind == kind, outbox.c.ref == ref)


async def put_now(transaction: Transaction, kind: str, ref: UUID) -> None:
    """Insert a call of `kind` for `ref`, due now."""
    row = postgresql.insert(outbox).values(kind=kind, ref=ref).on_conflict_do_nothing()
    await transaction.execute(row)
