"""Lists that cost the same however long a table is, and whatever Postgres believes to know about it.

The ids of a page are found first, by an index; then each row is put together by its id. Otherwise the planner might put
together all rows that there are, to show the first of them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Database, literal_number

Row = sa.RowMapping

#: Rows that one request looks at, at most, where conditions have no index. The next page looks at the ones before.
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


@dataclass(frozen=True, slots=True)
class Listing:
    """What is listed: rows of `table`, each shown as `detail`, which is a query for any of them.

    `of`: whose rows there are, if not everybody's. An index has those of one owner by id, newest first, nulls last. No
    id is null: by saying so, we keep the planner from reading the newest rows of everybody, until it has found enough.
    """

    table: sa.Table
    detail: "sa.Select[Any]"
    of: "sa.ColumnElement[bool] | None" = None

    @property
    def newest_first(self) -> "sa.ColumnElement[UUID]":
        """The order."""
        newest: sa.ColumnElement[UUID] = self.table.c.id.desc()
        return newest if self.of is None else newest.nulls_last()

    def ids(self, *conditions: "sa.ColumnElement[bool]") -> "sa.Select[UUID]":
        """Return the query for the ids of those rows that meet the conditions."""
        own = () if self.of is None else (self.of,)
        return sa.select(self.table.c.id).where(*own, *conditions).order_by(self.newest_first)

    def shown(self, ids: "sa.Select[UUID]") -> "sa.Select[Any]":
        """Return the query for the rows with these ids, each with its id as `position`."""
        chosen = ids.cte("chosen")
        one = self.detail.where(self.table.c.id == chosen.c.id).limit(literal_number(1)).lateral("one")
        query = sa.select(one, chosen.c.id.label("position")).select_from(chosen.join(one, sa.true()))
        return query.order_by(chosen.c.id.desc())


async def page(db: Database, listing: Listing, window: Window, *conditions: "sa.ColumnElement[bool]") -> Page:
    """Return that part of the rows that meet the conditions, newest first.

    A page may be short, or empty, and still not the last: then it has reached as many rows as it may look at.
    """
    id_, end = listing.table.c.id, None
    after = [id_ < window.before] if window.before else []
    if window.reach is not None and conditions:
        # The last row that may be looked at, if there are more; found in an index.
        last = listing.ids(*after).offset(literal_number(window.reach - 1)).limit(literal_number(1))
        end = (await db.run(last)).scalar_one_or_none()
    within = [id_ >= end] if end else []
    ids = listing.ids(*after, *within, *conditions).limit(literal_number(window.limit + 1))
    rows = (await db.run(listing.shown(ids))).mappings().all()
    if len(rows) > window.limit:
        return Page(rows[: window.limit], rows[window.limit - 1]["position"])
    return Page(rows, end)
