"""Generations of a span of time, found by their ids: those begin with the time, so `created_at` needs no index.

The API process makes the id and the database makes `created_at`. What counts is `created_at`. The range of ids only
finds the rows, and is wider than the span by more than the two clocks may differ.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.generations.tables import generations
from tallyframe.ids import first_id

#: How far the clocks of API processes and database may be apart, and how long an order may take to be accepted.
APART = timedelta(hours=1)

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)


@dataclass(frozen=True, slots=True)
class Span:
    """From `since` on, and before `until`."""

    since: datetime
    until: datetime

    @property
    def ids(self) -> "tuple[sa.ColumnElement[UUID], sa.ColumnElement[UUID]]":
        """The range of ids in which all of its generations are: from the first on, and before the second."""
        return _earliest(self.since - APART), _earliest(self.until + APART)

    def contains(self) -> "sa.ColumnElement[bool]":
        """Return the condition that a generation was accepted in it."""
        row, (first, end) = generations.c, self.ids
        by_id = sa.and_(row.id >= first, row.id < end)
        since, until = (_written(moment, row.created_at.type) for moment in (self.since, self.until))
        return sa.and_(by_id, row.created_at >= since, row.created_at < until)


def _earliest(moment: datetime) -> "sa.ColumnElement[UUID]":
    """Return the least id that a UUIDv7 made in that millisecond can have."""
    return _written(first_id((moment - _EPOCH) // _MILLISECOND), sa.Uuid())


def _written(value: object, kind: "sa.types.TypeEngine[Any]") -> "sa.ColumnElement[Any]":
    # A literal and no parameter: the planner must see how long the span is, or it plans a year like a minute.
    return sa.literal(value, kind, literal_execute=True)
