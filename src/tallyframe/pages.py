"""Lists that cost the same however long the table is: one request looks at so many of the newest rows, and no more."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Database

Row = sa.RowMapping

#: Rows that one request looks at, at most. The next page looks at the ones before.
REACH = 20_000


@dataclass(frozen=True, slots=True)
class Window:
    """Which part of a list: `limit` rows at most, after the row `before`.

    `reach` is how many rows may be looked at; None where an index leads to those that match.
    """

    before: UUID | None
    limit: int
    reach: int | None = REACH


@dataclass(frozen=True, slots=True)
class Page:
    """Rows, newest first; `last` is where the next page goes on, None if there is none."""

    rows: Sequence[Row]
    last: UUID | None


async def page(db: Database, query: "sa.Select[Any]", table: sa.Table, window: Window) -> Page:
    """Return that part of the query's rows, newest first by the table's `id`.

    A page may be short, or empty, and still not the last: then it has reached as many rows as it may look at.
    """
    end: UUID | None = None  # the last row that may be looked at, if there are more; found in the key's index
    if window.reach is not None:
        ids = sa.select(table.c.id).order_by(table.c.id.desc()).offset(window.reach - 1).limit(1)
        ids = ids.where(table.c.id < window.before) if window.before else ids
        end = (await db.run(ids)).scalar_one_or_none()
    if window.before:
        query = query.where(table.c.id < window.before)
    if end:
        query = query.where(table.c.id >= end)
    query = query.add_columns(table.c.id.label("position")).order_by(table.c.id.desc())
    rows = (await db.run(query.limit(window.limit + 1))).mappings().all()
    if len(rows) > window.limit:
        return Page(rows[: window.limit], rows[window.limit - 1]["position"])
    return Page(rows, end)
