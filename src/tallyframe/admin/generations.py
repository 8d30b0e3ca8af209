"""Find generations, and look into one."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe import pages
from tallyframe.accounts.tables import users
from tallyframe.admin.doubts import has_open_doubt
from tallyframe.db import Database
from tallyframe.generations.queries import everybodys_receipts
from tallyframe.generations.states import LIVE
from tallyframe.generations.tables import IS_LIVE, generation_steps, generations
from tallyframe.pages import Page, Row, Window
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


def _generations(*columns: "sa.ColumnElement[Any]") -> "sa.Select[Any]":
    return everybodys_receipts(
        *(generations.c[name] for name in _MORE),
        *(users.c[name].label(f"owner_{name}") for name in _OWNER),
        has_open_doubt().label("in_doubt"),
        *columns,
    )


async def listed(db: Database, wanted: Filter, window: Window) -> Page:
    """Return generations of everybody, newest first.

    What belongs to one user, to one project or to the queue is found by an index. Whatever else is wanted is looked for
    among those.
    """
    row = generations.c
    indexed = {"user_id": row.user_id, "project_id": row.project_id}
    owned = [column == getattr(wanted, name) for name, column in indexed.items() if getattr(wanted, name)]
    if wanted.status in LIVE:
        owned += [row.status == sa.literal_column(f"'{wanted.status}'"), IS_LIVE]  # in the words of the indexes
    of = sa.and_(*owned) if owned else None
    return await pages.page(db, pages.Listing(generations, _generations(), of), window, *_conditions(wanted))


def _conditions(wanted: Filter) -> "list[sa.ColumnElement[bool]]":
    row = generations.c
    names = ("status", "operation", "provider", "error_code")
    found = [row[name] == value for name in names if (value := getattr(wanted, name)) is not None]
    if wanted.status in LIVE:
        found = found[1:]
    if wanted.since:
        found.append(row.created_at >= wanted.since)
    if wanted.until:
        found.append(row.created_at < wanted.until)
    if wanted.in_doubt is not None:
        found.append(has_open_doubt() if wanted.in_doubt else ~has_open_doubt())
    return found


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
