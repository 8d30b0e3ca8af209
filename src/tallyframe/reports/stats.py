"""How the generations of a span of time went, for operators: how many, how fast, and for how many credits.

Credits are worked out from ledger entries, everything else from the generations' rows. These are two queries, so a
generation that ends between them may count in the first and not yet in the second.
"""

from collections.abc import Sequence
from dataclasses import dataclass, fields
from functools import reduce
from operator import add
from typing import Any, Self

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.generations.states import Status
from tallyframe.generations.tables import generations
from tallyframe.ledger.history import charges_between
from tallyframe.reports.span import Span


@dataclass(frozen=True, slots=True)
class Numbers:
    """How many generations are where, and what they cost."""

    pending: int = 0
    processing: int = 0
    succeeded: int = 0
    failed: int = 0
    canceled: int = 0
    charged: int = 0  # credits
    refunded: int = 0  # credits
    owed: int = 0  # generations to be refunded: they failed or were canceled, and had a price
    given_back: int = 0  # of these: refunded in full

    def __add__(self, other: Self) -> Self:
        sums = {each.name: getattr(self, each.name) + getattr(other, each.name) for each in fields(self)}
        return type(self)(**sums)

    @property
    def accepted(self) -> int:
        """All of them."""
        return sum(getattr(self, status) for status in Status)

    @property
    def shares(self) -> dict[str, float | None]:
        """The share of each status among all, 0 to 1; they add up to 1."""
        return {status.value: ratio(getattr(self, status), self.accepted) for status in Status}

    @property
    def success_rate(self) -> float | None:
        """Succeeded ÷ (succeeded + failed), 0 to 1. What its user canceled counts for neither."""
        return ratio(self.succeeded, self.succeeded + self.failed)

    @property
    def kept(self) -> int:
        """Credits charged and not refunded, also for what has not ended."""
        return self.charged - self.refunded

    @property
    def refund_rate(self) -> float | None:
        """Refunded in full ÷ due to be refunded, 0 to 1. Anything but 1 is a bug."""
        return ratio(self.given_back, self.owed)


@dataclass(frozen=True, slots=True)
class Times:
    """Seconds; null where nothing was measured."""

    average: float | None  # from acceptance to the end, of those that succeeded
    p50: float | None
    p95: float | None
    pickup_average: float | None  # from acceptance to the first worker, of all that any took up
    pickup_p95: float | None


@dataclass(frozen=True, slots=True)
class Group:
    """The generations of one operation: with one provider, by which they were last ordered, or with all."""

    operation: str
    provider: str | None  # None: all, or none yet
    numbers: Numbers
    times: Times


@dataclass(frozen=True, slots=True)
class Stats:
    """All generations of the span."""

    total: Numbers
    operations: Sequence[Group]
    providers: Sequence[Group]


def ratio(part: int, whole: int) -> float | None:
    """Return part ÷ whole; None when there is nothing to divide."""
    return part / whole if whole else None


async def read(reader: Reader, span: Span) -> Stats:
    """Return the figures of the generations accepted in the span."""
    counted = (await reader.execute(_numbers_and_times(span))).mappings().all()
    money = (await reader.execute(_credits(span))).all()
    operations = [_group(row, money) for row in counted if row["is_whole"]]
    providers = [_group(row, money) for row in counted if not row["is_whole"]]
    return Stats(reduce(add, (group.numbers for group in operations), Numbers()), operations, providers)


def _numbers_and_times(span: Span) -> sa.Select[Any]:
    """Return the query for a row per operation and provider, and one per operation, which `is_whole`."""
    row = generations.c
    took = _seconds(row.finished_at).label("took")
    waited = _seconds(row.started_at).label("waited")
    columns = [row.operation, row.provider, row.status, took, waited]
    of = sa.select(*columns).where(span.contains()).subquery().c
    succeeded = of.status == Status.SUCCEEDED
    whole = sa.func.grouping(of.provider).label("is_whole")
    sets = sa.func.grouping_sets(sa.tuple_(of.operation, of.provider), sa.tuple_(of.operation))
    query = sa.select(
        of.operation,
        of.provider,
        whole,
        *(sa.func.count().filter(of.status == status).label(status.value) for status in Status),
        sa.func.avg(of.took).filter(succeeded).label("average"),
        sa.func.percentile_cont(_HALF_AND_MOST).within_group(of.took).filter(succeeded).label("percentiles"),
        sa.func.avg(of.waited).label("pickup_average"),
        sa.func.percentile_cont(0.95).within_group(of.waited).label("pickup_p95"),
    )
    return query.group_by(sets).order_by(of.operation, of.provider)


_HALF_AND_MOST: "sa.ColumnElement[Any]" = sa.literal_column("ARRAY[0.5, 0.95]", sa.ARRAY(sa.Double()))


def _seconds(until: "sa.ColumnElement[Any]") -> "sa.ColumnElement[float]":
    # `date_part` and not `extract`, whose numeric takes several times as long to sort.
    return sa.func.date_part("epoch", until - generations.c.created_at, type_=sa.Double())


def _credits(span: Span) -> sa.Select[Any]:
    """Return the query for a row per operation and provider."""
    row, charges = generations.c, charges_between(*span.ids)
    owed = sa.and_(row.status.in_((Status.FAILED, Status.CANCELED)), row.credits > 0)
    columns = [
        row.operation,
        row.provider,
        sa.func.coalesce(sa.func.sum(charges.c.charged), 0).label("charged"),
        sa.func.coalesce(sa.func.sum(charges.c.refunded), 0).label("refunded"),
        sa.func.count().filter(owed).label("owed"),
        sa.func.count().filter(owed, charges.c.refunded >= row.credits).label("given_back"),
    ]
    joined = generations.outerjoin(charges, charges.c.generation_id == row.id)
    return sa.select(*columns).select_from(joined).where(span.contains()).group_by(row.operation, row.provider)


_CREDITS = ("charged", "refunded", "owed", "given_back")


def _group(row: sa.RowMapping, money: Sequence[Any]) -> Group:
    """Return the group of a counted row, with the credits of its operation, or of its provider there."""
    operation, provider, is_whole = row["operation"], row["provider"], row["is_whole"]
    mine = [each for each in money if each.operation == operation and (is_whole or each.provider == provider)]
    credits_ = {name: sum(int(getattr(each, name)) for each in mine) for name in _CREDITS}
    numbers = Numbers(**{status.value: row[status.value] for status in Status}, **credits_)
    p50, p95 = row["percentiles"] or (None, None)
    times = Times(row["average"], p50, p95, row["pickup_average"], row["pickup_p95"])
    return Group(operation, provider, numbers, times)
