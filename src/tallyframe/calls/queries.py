"""Reads of the log of vendor calls, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tallyframe.calls.tables import ai_operations
from tallyframe.db import Database

Row = sa.RowMapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which calls: from `since` on and before `until`, and with these values where they are given."""

    since: datetime | None = None
    until: datetime | None = None
    operation: str | None = None
    kind: str | None = None
    provider: str | None = None
    model: str | None = None
    status: str | None = None
    error_code: str | None = None
    generation_id: UUID | None = None


async def listed(db: Database, wanted: Filter, *, before: UUID | None, limit: int) -> Sequence[Row]:
    """Return calls, newest first; `before` is the id of the last one seen."""
    query = sa.select(ai_operations).where(*_conditions(wanted)).order_by(ai_operations.c.id.desc()).limit(limit)
    if before:
        query = query.where(ai_operations.c.id < before)
    return (await db.run(query)).mappings().all()


async def sums(db: Database, wanted: Filter) -> Row:
    """Return the figures of all calls that match, whatever page is shown."""
    row = ai_operations.c
    totals = [sa.func.sum(row[name]).label(name) for name in ("input_tokens", "output_tokens", "cost_micros")]
    query = sa.select(
        sa.func.count().label("calls"),
        *(sa.func.count().filter(row.status == status).label(status) for status in ("failed", "in_doubt")),
        *totals,
        sa.func.sum(row.video_seconds).label("video_seconds"),
        sa.func.avg(row.duration_ms).label("average_ms"),
        sa.func.percentile_cont(0.95).within_group(row.duration_ms).label("p95_ms"),
    )
    return (await db.run(query.where(*_conditions(wanted)))).mappings().one()


def _conditions(wanted: Filter) -> "list[sa.ColumnElement[bool]]":
    row = ai_operations.c
    names = ("operation", "kind", "provider", "model", "status", "error_code", "generation_id")
    exact = [row[name] == value for name in names if (value := getattr(wanted, name)) is not None]
    since = [row.created_at >= wanted.since] if wanted.since else []
    return [*exact, *since, *([row.created_at < wanted.until] if wanted.until else [])]
