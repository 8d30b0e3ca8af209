"""How generations are doing, for operators; counted in Postgres."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.generations.states import LIVE
from tallyframe.generations.tables import IS_LIVE, generation_steps, generations
from tallyframe.ledger.history import refunds


@dataclass(frozen=True, slots=True)
class Figures:
    """One reading. Times are seconds."""

    outcomes: Sequence[Any]  # (operation, provider, status, count)
    live: Sequence[Any]  # (status, count)
    oldest_pending: float
    provider_seconds: Sequence[Any]  # (provider, count, seconds)
    refunds: int
    refunded_credits: int


async def read(reader: Reader) -> Figures:
    """Count everything once."""
    column, count = generations.c, sa.func.count()
    provider = sa.func.coalesce(column.provider, "none")
    ended = sa.select(column.operation, provider, column.status, count).where(~IS_LIVE)
    live = sa.select(column.status, count).where(IS_LIVE).group_by(column.status)
    age = sa.func.extract("epoch", sa.func.now() - sa.func.min(column.created_at))
    oldest = sa.select(sa.func.coalesce(age, 0)).where(column.status == "pending")
    waiting = {row[0]: row[1] for row in (await reader.execute(live)).all()}
    refunded = (await reader.execute(refunds())).one()
    return Figures(
        outcomes=(await reader.execute(ended.group_by(column.operation, provider, column.status))).all(),
        live=[*({status.value: 0 for status in LIVE} | waiting).items()],
        oldest_pending=float((await reader.execute(oldest)).scalar_one()),
        provider_seconds=(await reader.execute(_provider_seconds())).all(),
        refunds=refunded[0],
        refunded_credits=int(refunded[1]),
    )


def _provider_seconds() -> sa.Select[str, int, Any]:
    step = generation_steps.c
    took = sa.func.extract("epoch", step.ended_at - step.created_at)
    total = sa.func.coalesce(sa.func.sum(took), 0)
    return sa.select(step.provider, sa.func.count(), total).where(step.ended_at.is_not(None)).group_by(step.provider)
