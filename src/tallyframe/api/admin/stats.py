"""How it goes: totals, rates, times, credits, what waits, who works, and what has failed lately."""

from datetime import UTC, timedelta
from functools import partial
from typing import Annotated

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query
from pydantic import Field

from tallyframe.api.admin.stats_schemas import (
    Failure,
    FailureCount,
    Numbers,
    OperationStats,
    ProviderStats,
    QueueDepth,
    Stats,
    WorkersUse,
)
from tallyframe.api.dependencies import SystemServices, administrator
from tallyframe.api.incoming import Moment
from tallyframe.api.routes import SignedInFirst
from tallyframe.db import Database, Reader
from tallyframe.errors import ValidationFailed
from tallyframe.operations.fields import Fields
from tallyframe.reports import failed, load, stats
from tallyframe.reports.span import Span

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(administrator)], route_class=SignedInFirst)

#: Days that are counted when `from` is left out.
DEFAULT_DAYS = 7
#: The longest span, in days.
MOST_DAYS = 92


class Asked(Fields):
    """Which generations to count: those accepted in this span, whenever they ended."""

    since: Moment | None = Field(
        None, alias="from", description=f"With its time zone. Left out: {DEFAULT_DAYS} days before `to`."
    )
    until: Moment | None = Field(
        None, alias="to", description=f"Up to, and not including; at most {MOST_DAYS} days later. Left out: now."
    )

    async def span(self, reader: Reader) -> Span:
        """Return the span, by the database's clock. Raises ValidationFailed."""
        until = self.until or (await reader.execute(sa.select(sa.func.clock_timestamp()))).scalar_one()
        since = self.since or until - timedelta(days=DEFAULT_DAYS)
        if since >= until:
            raise ValidationFailed("'from' must be before 'to'.", pointer="/from")
        if until - since > timedelta(days=MOST_DAYS):
            raise ValidationFailed(f"At most {MOST_DAYS} days can be asked for at once.", pointer="/from")
        return Span(since.astimezone(UTC), until.astimezone(UTC))


@router.get("/stats")
async def read_stats(serving: SystemServices, asked: Annotated[Asked, Query()]) -> Stats:
    """Return how the generations accepted in a span went, what waits and who works now, and what failed last."""
    return await serving.listed.read(partial(figures, asked=asked))


async def figures(db: Database, asked: Asked) -> Stats:
    """Return all of it. Raises ValidationFailed."""
    async with db.reading() as reader:
        span = await asked.span(reader)
        went = await stats.read(reader, span)
        return Stats(
            since=span.since,
            until=span.until,
            total=Numbers.model_validate(went.total),
            operations=[OperationStats.model_validate(group) for group in went.operations],
            providers=[ProviderStats.model_validate(group) for group in went.providers],
            failures=[FailureCount.model_validate(dict(row)) for row in await failed.by_code(reader, span)],
            recent_failures=[Failure.model_validate(dict(row)) for row in await failed.latest(reader, span)],
            queue=QueueDepth.model_validate(await load.queue(reader)),
            workers=WorkersUse.model_validate(await load.fleet(reader)),
        )
