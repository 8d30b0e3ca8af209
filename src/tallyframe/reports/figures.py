"""How generations have ended since the first one, for /metrics: read from counters, which triggers keep."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.reports.tables import counters


@dataclass(frozen=True, slots=True)
class Figures:
    """One reading. Times are seconds."""

    outcomes: Sequence[Any]  # (operation, provider, status, count)
    provider_seconds: Sequence[Any]  # (provider, count, seconds)
    refunds: int
    refunded_credits: int


async def read(reader: Reader) -> Figures:
    """Add up the counters."""
    row = counters.c
    sums = sa.cast(sa.func.sum(row.count), sa.BigInteger), sa.func.sum(row.total)
    query = sa.select(row.name, row.labels, *sums).group_by(row.name, row.labels).order_by(row.name, row.labels)
    found = (await reader.execute(query)).all()
    refunds = [each for each in found if each[0] == "refunds"]
    return Figures(
        outcomes=[(*labels, count) for name, labels, count, _ in found if name == "generations"],
        provider_seconds=[(*labels, count, total) for name, labels, count, total in found if name == "steps"],
        refunds=sum(count for _, _, count, _ in refunds),
        refunded_credits=sum(int(total) for *_, total in refunds),
    )
