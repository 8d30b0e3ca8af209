"""What the figures for administrators are made of."""

from datetime import datetime
from typing import Annotated
from uuid import UUID

from pydantic import BaseModel, ConfigDict, Field

from tallyframe.reports import failed, load

Share = Annotated[float | None, Field(ge=0, le=1)]
Seconds = float | None


class Shown(BaseModel):
    """A model that is filled from an object's attributes."""

    model_config = ConfigDict(from_attributes=True)


class Shares(Shown):
    """Each status among all that were accepted, 0 to 1, adding up to 1; null when there were none."""

    pending: Share
    processing: Share
    succeeded: Share
    failed: Share
    canceled: Share


class Numbers(Shown):
    """Generations by their status now, and their credits, worked out from the ledger."""

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
    """One operation at the provider that was asked last; null: no provider has been asked yet."""

    provider: str | None


class FailureCount(Shown):
    """How many generations failed like this."""

    operation: str
    error_code: str
    count: int


class QueueDepth(Shown):
    """Generations that have not ended, now, whenever they were accepted."""

    pending: int
    due: int = Field(description="Of the pending: may be taken up now.")
    waiting: int = Field(description="Of the pending: wait for a time that is still to come.")
    processing: int = Field(description="Also those that wait for a ticket or for the next try, without a worker.")
    oldest_pending_seconds: Seconds
    outbox_overdue: int = Field(
        description=f"Work besides generations that is due and that no worker has enqueued within {load.OVERDUE:g} s."
    )


class WorkerUse(Shown):
    """A worker that is alive now."""

    name: str
    slots: int = Field(description="Generations that it runs at once.")
    busy: int
    started_at: datetime
    seen_at: datetime


class WorkersUse(Shown):
    """All workers that are alive now."""

    count: int
    slots: int
    busy: int = Field(description="Slots that run a generation.")
    use: float | None = Field(description="Busy ÷ slots; null without workers.")
    each: list[WorkerUse]


class Failure(Shown):
    """A generation that failed, with its refund."""

    generation_id: UUID = Field(validation_alias="id")
    project_id: UUID | None
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
