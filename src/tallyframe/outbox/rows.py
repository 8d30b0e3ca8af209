"""The outbox row, in the caller's transaction: the work and its wake-up call are written together or not at all."""

from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.db import literal_number
from tallyframe.outbox.tables import outbox

_NEW_SERIAL: dict[str, Any] = {"serial": sa.literal_column("DEFAULT")}


def enqueue(kind: str, source: sa.FromClause, due_at: "sa.ColumnElement[Any] | None" = None) -> sa.Insert:
    """Return the insert of a call of `kind` for the `id` of each row of `source`, due now or at `due_at`.

    A row that is already there gets the new time and a new serial, and is enqueued as if it were new.
    """
    when = sa.func.clock_timestamp() if due_at is None else due_at
    row = sa.select(sa.literal(kind, sa.Text()), source.c.id, when).select_from(source)
    insert = postgresql.insert(outbox).from_select(["kind", "ref", "due_at"], row)
    return insert.on_conflict_do_update(
        index_elements=["kind", "ref"], set_={"due_at": insert.excluded.due_at, "rings": 0, **_NEW_SERIAL}
    )


def take(kind: str, ref: UUID) -> sa.Executable:
    """Return the update that takes a call for work that is to be completed later; it returns the call's new serial.

    Of several who take a call, only the last one can complete it: it has seen all that the others have.
    """
    this = (outbox.c.kind == kind) & (outbox.c.ref == ref)
    return sa.update(outbox).where(this).values(_NEW_SERIAL).returning(outbox.c.serial)


def complete_taken(kind: str, ref: UUID, serial: int) -> sa.Delete:
    """Return the delete of a call, unless somebody has taken it, or called again, since `take` returned this serial."""
    return complete_where(kind, (outbox.c.ref == ref) & (outbox.c.serial == serial))


def postpone_taken(kind: str, ref: UUID, serial: int, wait: timedelta) -> sa.Update:
    """Return the update that has a call come again after `wait`, unless it was taken or made again since `take`."""
    this = (outbox.c.kind == kind) & (outbox.c.ref == ref) & (outbox.c.serial == serial)
    later = sa.func.clock_timestamp() + sa.literal(wait, sa.Interval())
    return sa.update(outbox).where(this).values(due_at=later, rings=0)


def complete(kind: str, source: sa.FromClause) -> sa.Delete:
    """Return the delete of the call of `kind` for each row of `source`: somebody has taken the work up."""
    return sa.delete(outbox).where(outbox.c.kind == kind, outbox.c.ref == sa.select(source.c.id).scalar_subquery())


def complete_where(kind: str, condition: "sa.ColumnElement[bool]") -> sa.Delete:
    """Return the delete of the calls of `kind` that meet a condition."""
    return sa.delete(outbox).where(outbox.c.kind == kind, condition)


def not_queued(kind: str, ref: "sa.ColumnElement[UUID]") -> "sa.ColumnElement[bool]":
    """Return the condition that there is no call of `kind` for `ref`, a column of an outer query.

    Not as EXISTS: the planner would read all calls that there are for it, and so it looks up the one of each row.
    """
    call = sa.select(sa.true()).where(outbox.c.kind == kind, outbox.c.ref == ref).limit(literal_number(1))
    return sa.not_(sa.func.coalesce(call.correlate_except(outbox).scalar_subquery(), sa.false()))
