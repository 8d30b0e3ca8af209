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
    row, step, count = generations.c, generation_steps.c, sa.func.count()
    provider = sa.func.coalesce(row.provider, "none")
    ended = sa.select(row.operation, provider, row.status, count).where(~IS_LIVE)
    live = sa.select(row.status, count).where(IS_LIVE).group_by(row.status)
    age = sa.func.extract("epoch", sa.func.now() - sa.func.min(row.created_at))
    oldest = sa.select(sa.func.coalesce(age, 0)).where(row.status == "pending")
    took = sa.func.coalesce(sa.func.sum(sa.func.extract("epoch", step.ended_at - step.created_at)), 0)
    tries = sa.select(step.provider, count, took).where(step.ended_at.is_not(None)).group_by(step.provider)
    waiting = {found[0]: found[1] for found in (await reader.execute(live)).all()}
    refunded = (await reader.execute(refunds())).one()
    return Figures(
        outcomes=(await reader.execute(ended.group_by(row.operation, provider, row.status))).all(),
        live=[*({status.value: 0 for status in LIVE} | waiting).items()],
        oldest_pending=float((await reader.execute(oldest)).scalar_one()),
        provider_seconds=(await reader.execute(tries)).all(),
        refunds=refunded[0],
        refunded_credits=int(refunded[1]),
    )
