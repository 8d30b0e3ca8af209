"""What was asked of the vendors, and what it cost."""

from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Annotated, Literal
from uuid import UUID

from fastapi import APIRouter, Depends, Query
from pydantic import BaseModel, Field

from tallyframe.api import cursors
from tallyframe.api.admin.schemas import Cursor, Limit, Name
from tallyframe.api.dependencies import SystemServices, administrator
from tallyframe.api.incoming import Moment
from tallyframe.api.routes import SignedInFirst
from tallyframe.calls import queries
from tallyframe.errors import FailureCode, ValidationFailed
from tallyframe.operations.fields import Fields

router = APIRouter(prefix="/v1/admin", tags=["admin"], dependencies=[Depends(administrator)], route_class=SignedInFirst)

#: Days that are looked at when `from` is left out: the log may have millions of rows.
DEFAULT_DAYS = 7

Status = Literal["running", "succeeded", "accepted", "waiting", "failed", "in_doubt", "abandoned"]
Kind = Literal["order", "collect", "cancel"]


class AiOperation(BaseModel):
    """One call to a vendor. `attempt` is the generation's; null: the vendor didn't say."""

    id: UUID
    generation_id: UUID
    operation: str
    step: str | None
    kind: Kind
    attempt: int
    provider: str
    model: str
    status: Status = Field(
        description="accepted: a ticket; waiting: not ready yet; in_doubt: it may have been taken and billed all the "
        "same; abandoned: the worker died or was stopped before an answer came, or a picture of the order could not "
        "be read"
    )
    error_code: FailureCode | None
    error: str | None = Field(description="The vendor's own words, or the storage's.")
    input_tokens: int | None
    output_tokens: int | None
    video_seconds: float | None
    cost_micros: int | None = Field(description="Millionths of a US dollar, where TALLYFRAME_VENDOR_PRICES knows it.")
    duration_ms: int | None
    vendor_request_id: str | None
    created_at: datetime


class AiOperationSums(BaseModel):
    """The figures of all calls that match the filters; null where no call has one."""

    calls: int
    failed: int
    in_doubt: int
    input_tokens: int | None
    output_tokens: int | None
    video_seconds: float | None
    cost_micros: int | None
    average_ms: float | None
    p95_ms: float | None


class AiOperations(BaseModel):
    """One page of vendor calls, newest first."""

    data: list[AiOperation]
    next_cursor: str | None
    sums: AiOperationSums


class Asked(Fields):
    """Which calls to show."""

    since: Moment | None = Field(
        None,
        alias="from",
        description=f"With its time zone. Left out: {DEFAULT_DAYS} days before `to`, unless it is one generation's.",
    )
    until: Moment | None = Field(None, alias="to", description="Up to, and not including.")
    operation: Name | None = None
    kind: Kind | None = None
    provider: Name | None = None
    model: Name | None = None
    status: Status | None = None
    error_code: FailureCode | None = None
    generation_id: UUID | None = None
    cursor: Cursor = None
    limit: Limit = 20

    def filter(self) -> queries.Filter:
        """Return what to look for. Raises ValidationFailed."""
        if self.since and self.until and self.since >= self.until:
            raise ValidationFailed("'from' must be before 'to'.", pointer="/from")
        wanted = self.model_dump(exclude={"cursor", "limit"})
        if self.since is None and self.generation_id is None:
            before = self.until or datetime.now(UTC)
            wanted["since"] = before - timedelta(days=DEFAULT_DAYS)
        return queries.Filter(**wanted)


@router.get("/ai-operations")
async def list_ai_operations(serving: SystemServices, asked: Annotated[Asked, Query()]) -> AiOperations:
    """Return the calls to vendors, newest first, and the sums of all that match."""
    wanted, (before,) = asked.filter(), cursors.decode(asked.cursor, UUID) or (None,)
    rows = await serving.listed.read(partial(queries.listed, wanted=wanted, before=before, limit=asked.limit + 1))
    page, next_cursor = cursors.cut(rows, asked.limit, cursors.by_id)
    data = [AiOperation.model_validate(dict(row)) for row in page]
    figures = AiOperationSums.model_validate(dict(await serving.listed.read(partial(queries.sums, wanted=wanted))))
    return AiOperations(data=data, next_cursor=next_cursor, sums=figures)
