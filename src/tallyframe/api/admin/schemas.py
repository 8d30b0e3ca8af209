"""What administrators send and see: what several routes share, and everything about generations."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, Field, StringConstraints

from tallyframe.admin.doubts import Outcome
from tallyframe.api.incoming import Moment, example
from tallyframe.api.schemas import Charge, ErrorOut
from tallyframe.errors import FailureCode
from tallyframe.operations.fields import NO_NUL, NOT_BLANK, Fields, Stripped, Text

Name = Annotated[Text, Field(min_length=1, max_length=200)]
Status = Literal["pending", "processing", "succeeded", "failed", "canceled"]
Cursor = Annotated[str | None, Field(max_length=300, description="`next_cursor` of the page before.")]
Limit = Annotated[int, Field(ge=1, le=100, description="How many at most.")]


Reason = Annotated[
    str,
    StringConstraints(min_length=1, max_length=500, pattern=NO_NUL),
    Field(description="Why; kept in the log for good.", json_schema_extra=NOT_BLANK),
    Stripped,
]


class Because(Fields):
    """Why something is done."""

    model_config = example(reason="The user has asked for it")

    reason: Reason


class Retry(Because):
    """Why something is tried again, and whether its user pays again for what that user has canceled."""

    model_config = example(reason="The vendor works again")

    even_if_canceled: bool = Field(
        False,
        strict=True,
        description="Order again, and have the user pay again, also what was canceled. If false, that is refused as "
        "`not_retryable`: a request to wake what waits must not buy it again when its user cancels it meanwhile.",
    )


class Resolution(Because):
    """What became of an order that was in doubt."""

    model_config = example(reason="It is on the vendor's bill", outcome="settled")

    outcome: Outcome = Field(description="settled: the vendor has billed it; refunded: it hasn't, or has paid it back")


class AskedGenerations(Fields):
    """Which generations to show."""

    since: Moment | None = Field(None, alias="from", description="With its time zone.")
    until: Moment | None = Field(None, alias="to", description="Up to, and not including.")
    user_id: UUID | None = None
    project_id: UUID | None = None
    status: Status | None = None
    operation: Name | None = None
    provider: Name | None = None
    error_code: FailureCode | None = None
    in_doubt: bool | None = Field(None, description="Whether a doubt is open.")
    cursor: Cursor = None
    limit: Limit = 20


class Owner(BaseModel):
    """Whose generation it is."""

    id: UUID
    email: str | None
    display_name: str
    deleted_at: datetime | None


class AdminOutput(BaseModel):
    """A stored file, without its address: whoever knows that can load the picture."""

    id: UUID
    role: str
    position: int
    content_type: str
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    duration_seconds: float | None


class AdminGeneration(BaseModel):
    """A receipt, whose it is, and how it is going."""

    id: UUID
    project_id: UUID | None
    owner: Owner
    operation: str
    status: Status
    step: Literal["queued", "generating", "storing", "completed"]
    attempt: int
    retries: int
    provider: str | None
    model: str | None
    credits: Charge
    error: ErrorOut | None
    in_doubt: bool = Field(description="Whether a step is in doubt about which nobody has said anything.")
    outputs: list[AdminOutput]
    worker: str | None
    lease_until: datetime | None
    wake_at: datetime | None
    expires_at: datetime
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class AdminGenerations(BaseModel):
    """One page of generations, newest first."""

    data: list[AdminGeneration]
    next_cursor: str | None


class AdminStep(BaseModel):
    """One try of a step."""

    name: str
    attempt: int
    state: str
    provider: str
    model: str
    has_ticket: bool
    error_code: str | None
    is_final: bool
    operator_message: str | None = Field(description="The vendor's own words.")
    resolution: Outcome | None
    created_at: datetime
    ended_at: datetime | None


class AdminGenerationDetail(AdminGeneration):
    """A generation with what was ordered, the data that came of it, and what became of each try.

    `input` has the prompt, and of pictures only their ids.
    """

    input: dict[str, Any]
    output: dict[str, Any] | None
    metadata: dict[str, str]
    steps: list[AdminStep]
