"""Find generations, and look into one."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.accounts.tables import users
from tallyframe.admin import pages
from tallyframe.admin.doubts import has_open_doubt
from tallyframe.admin.pages import Page, Row, Window
from tallyframe.db import Database
from tallyframe.generations.queries import everybodys_receipts
from tallyframe.generations.states import LIVE
from tallyframe.generations.tables import IS_LIVE, generation_steps, generations
from tallyframe.projects.tables import projects

_MORE = ("retries", "worker", "lease_until", "wake_at", "expires_at")
_OWNER = ("id", "email", "display_name", "deleted_at")

_STEP = (
    "name",
    "attempt",
    "state",
    "provider",
    "model",
    "error_code",
    "is_final",
    "operator_message",
    "resolution",
    "created_at",
    "ended_at",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which generations: accepted from `since` on and before `until`, and with these values where they are given."""

    since: datetime | None = None
    until: datetime | None = None
    user_id: UUID | None = None
    project_id: UUID | None = None
    status: str | None = None
    operation: str | None = None
    provider: str | None = None
    error_code: str | None = None
    in_doubt: bool | None = None

    @property
    def has_index(self) -> bool:
        """Whether an index leads to what is looked for."""
        by_id = self.project_id is not None or self.user_id is not None
        return by_id or self.status in LIVE or self == Filter()


def _generations(*columns: "sa.ColumnElement[Any]") -> "sa.Select[Any]":
    return everybodys_receipts(
        *(generations.c[name] for name in _MORE),
        *(users.c[name].label(f"owner_{name}") for name in _OWNER),
        has_open_doubt().label("in_doubt"),
        *columns,
    )


async def listed(db: Database, wanted: Filter, window: Window) -> Page:
    """Return generations of everybody, newest first."""
    row = generations.c
    names = ("user_id", "project_id", "status", "operation", "provider", "error_code")
    conditions = [row[name] == value for name in names if (value := getattr(wanted, name)) is not None]
    if wanted.status in LIVE:
        conditions.append(IS_LIVE)  # in the words of the index
    if wanted.since:
        conditions.append(row.created_at >= wanted.since)
    if wanted.until:
        conditions.append(row.created_at < wanted.until)
    if wanted.in_doubt is not None:
        conditions.append(has_open_doubt() if wanted.in_doubt else ~has_open_doubt())
    if wanted.has_index:
        window = replace(window, reach=None)
    return await pages.page(db, _generations().where(*conditions), generations, window)


async def one(db: Database, generation_id: UUID) -> Row | None:
    """Return the generation with its input, its fence, and what retrying it has to know of its project."""
    row = generations.c
    project = [projects.c.status.label("project_status"), projects.c.generation_id.label("latest_id")]
    later = generations.alias("later")
    replaced_by = sa.select(later.c.id).where(later.c.replaces_id == row.id).scalar_subquery().label("replaced_by")
    own = [row.input, row.fence, row.account_id, row.slot, row.deleted_at, replaced_by]
    query = _generations(*own, *project, projects.c.deleted_at.label("project_deleted_at"))
    query = query.outerjoin(projects, projects.c.id == row.project_id)
    return (await db.run(query.where(row.id == generation_id))).mappings().one_or_none()


async def steps(db: Database, generation_id: UUID) -> Sequence[Row]:
    """Return the tries of its steps, oldest first. Of a ticket only that it is there: it is as good as a key."""
    step = generation_steps.c
    columns = [step[name] for name in _STEP]
    query = sa.select(*columns, step.ticket.is_not(None).label("has_ticket")).where(step.generation_id == generation_id)
    return (await db.run(query.order_by(step.attempt, step.name))).mappings().all()
