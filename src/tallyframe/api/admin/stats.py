"""How it goes: totals, rates, times, credits, what waits, who works, and what has failed lately."""

from datetime import UTC, datetime, timedelta
from typing import Annotated
from uuid import UUID

import sqlalchemy as sa
from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, ConfigDict, Field

from tallyframe.api.incoming import Incoming, Moment
from tallyframe.api.services import SystemServices, administrator
from tallyframe.db import Reader
from tallyframe.errors import ValidationFailed
from tallyframe.reports import failed, load, stats
from tallyframe.reports.span import Span

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(administrator)])

#: Days that are looked at when nothing is said of where to begin.
DEFAULT_DAYS = 7
#: Days that may be looked at at once.
MOST_DAYS = 92

Share = Annotated[float | None, Field(ge=0, le=1)]
Seconds = float | None


class Shown(BaseModel):
    """What is read off an object."""

    model_config = ConfigDict(from_attributes=True)


class Shares(Shown):
    """Each status among all that were accepted, 0 to 1, adding up to 1; null when there were none."""

    pending: Share
    processing: Share
    succeeded: Share
    failed: Share
    canceled: Share


class Numbers(Shown):
    """Generations by how they are now, and their credits, worked out from the ledger."""

    accepted: int
    pending: int
    processing: int
    succeeded: int
    failed: int
    canceled: int
    shares: Shares
    success_rate: Share = Field(description="Succeeded ÷ (succeeded + failed); null when there is neither.")
    charged: int = Field(description="Credits.")
    refunded: int = Field(description="Credits.")
    kept: int = Field(description="Credits charged and not refunded, also for what has not ended.")
    refund_rate: Share = Field(
        description="Of the generations that failed or were canceled, and had a price: how many got all of it back. It "
        "must be 1; null when there are none."
    )


class Times(Shown):
    """Seconds; null where there is nothing to measure."""

    average: Seconds = Field(description="From acceptance to the end, of those that succeeded.")
    p50: Seconds
    p95: Seconds
    pickup_average: Seconds = Field(description="From acceptance to the first worker, of all that one has taken up.")
    pickup_p95: Seconds


class OperationStats(Shown):
    """One operation, whoever provided it."""

    operation: str
    numbers: Numbers
    times: Times


class ProviderStats(OperationStats):
    """One operation at one provider, which had it last; null: none was asked for it, or not yet."""

    provider: str | None


class FailureCount(Shown):
    """How many generations failed like this."""

    operation: str
    error_code: str
    count: int


class QueueDepth(Shown):
    """What has not ended, now, whenever it was accepted."""

    pending: int
    due: int = Field(description="Of the pending: may be taken up now.")
    waiting: int = Field(description="Of the pending: wait for a time that is still to come.")
    processing: int = Field(description="Also those that wait for a ticket or for the next try, without a worker.")
    oldest_pending_seconds: Seconds
    outbox_overdue: int = Field(
        description=f"Work besides generations that is due and that no worker has enqueued within {load.OVERDUE:g} s."
    )


class WorkerUse(Shown):
    """A worker that lives, now."""

    name: str
    slots: int = Field(description="Generations that it runs at once.")
    busy: int
    started_at: datetime
    seen_at: datetime


class WorkersUse(Shown):
    """All workers that live, now."""

    count: int
    slots: int
    busy: int = Field(description="Slots that run a generation.")
    use: float | None = Field(description="Busy ÷ slots; null without workers.")
    each: list[WorkerUse]


class Failure(Shown):
    """A generation that failed, with its refund."""

    generation_id: UUID = Field(validation_alias="id")
    project_id: UUID
    user_id: UUID
    operation: str
    provider: str | None
    model: str | None
    error_code: str
    operator_message: str | None = Field(description="The vendor's own words.")
    created_at: datetime
    finished_at: datetime
    charged: int
    refunded: int
    refund_entry_id: UUID | None


class Stats(BaseModel):
    """How the generations accepted in the span went; and, whatever the span, what waits and who works now."""

    since: datetime = Field(serialization_alias="from")
    until: datetime = Field(serialization_alias="to")
    total: Numbers
    operations: list[OperationStats]
    providers: list[ProviderStats]
    failures: list[FailureCount]
    recent_failures: list[Failure] = Field(description=f"The last {failed.LATEST} to end, latest first.")
    queue: QueueDepth
    workers: WorkersUse


class Asked(Incoming):
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
    async with serving.system.reading() as reader:
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
