"""The administrators' log: each act writes its line in its own statement, so neither is there without the other."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.accounts.tables import users
from tallyframe.admin.tables import admin_log
from tallyframe.db import Database, insert_per_row
from tallyframe.ids import new_id

Row = sa.RowMapping


class Action(StrEnum):
    """What administrators do."""

    ADJUST_CREDITS = "adjust_credits"
    CANCEL = "cancel"
    WAKE = "wake"
    ORDER_AGAIN = "order_again"
    RESOLVE = "resolve"
    DELETE_USER = "delete_user"
    REPLAY_WEBHOOK = "replay_webhook"
    DISMISS_WEBHOOK = "dismiss_webhook"


@dataclass(frozen=True, slots=True)
class Decision:
    """Who acts, and why."""

    admin_id: UUID
    reason: str


@dataclass(frozen=True, slots=True)
class Subject:
    """To whom it is done, and to which of their generations: ids, or columns of the row that the act changes.

    `user_id` is None for what is done to no user.
    """

    user_id: "sa.ColumnElement[UUID] | UUID | None"
    generation_id: "sa.ColumnElement[UUID] | UUID | None" = None


def audit_entry(
    decision: Decision, action: Action, act: sa.FromClause, subject: Subject, details: dict[str, Any] | None = None
) -> sa.Insert:
    """Return the insert of a line about the act. It inserts nothing when `act`, which has the changed row, is empty."""
    return insert_per_row(
        admin_log,
        act,
        id=new_id(),
        admin_id=decision.admin_id,
        action=action.value,
        user_id=subject.user_id,
        generation_id=subject.generation_id,
        reason=decision.reason,
        details=details or {},
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which lines: those with the given values."""

    admin_id: UUID | None = None
    action: Action | None = None
    user_id: UUID | None = None
    generation_id: UUID | None = None


async def listed(db: Database, wanted: Filter, *, before: UUID | None, limit: int) -> Sequence[Row]:
    """Return lines, newest first, with the addresses that both sides have now; `before` is the last one seen."""
    admins, subjects = users.alias("admins"), users.alias("subjects")
    given = {name: getattr(wanted, name) for name in Filter.__dataclass_fields__}
    query = (
        sa.select(admin_log, admins.c.email.label("admin_email"), subjects.c.email.label("user_email"))
        .join(admins, admins.c.id == admin_log.c.admin_id)
        .outerjoin(subjects, subjects.c.id == admin_log.c.user_id)
        .where(*(admin_log.c[name] == value for name, value in given.items() if value is not None))
        .order_by(admin_log.c.id.desc())
        .limit(limit)
    )
    if before:
        query = query.where(admin_log.c.id < before)
    return (await db.run(query)).mappings().all()
