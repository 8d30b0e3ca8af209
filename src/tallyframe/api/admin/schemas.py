"""What administrators send and see."""

from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from tallyframe.admin.doubts import Outcome
from tallyframe.admin.log import Action
from tallyframe.api.incoming import Moment
from tallyframe.api.schemas import Charge, ErrorOut
from tallyframe.credits import MAX_CREDITS
from tallyframe.errors import FailureCode
from tallyframe.operations.fields import Fields, Text

Name = Annotated[Text, Field(max_length=200)]
Status = Literal["pending", "processing", "succeeded", "failed", "canceled"]


def _stripped(text: object) -> object:
    return text.strip() if isinstance(text, str) else text


Reason = Annotated[
    Text,
    BeforeValidator(_stripped),
    Field(min_length=1, max_length=500, description="Why; kept in the log for good."),
]


def _not_zero(amount: int) -> int:
    if amount == 0:
        raise ValueError("must not be 0")
    return amount


class Because(Fields):
    """Why something is done."""

    reason: Reason


class NewAdjustment(Because):
    """Credits to give, or to take where `amount` is negative. The user sees the reason with the entry."""

    amount: Annotated[int, Field(strict=True, ge=-MAX_CREDITS, le=MAX_CREDITS), AfterValidator(_not_zero)]


class Retry(Because):
    """Why something is tried again, and whether that may cost somebody who has canceled it."""

    even_if_canceled: bool = Field(
        False,
        strict=True,
        description="Order again, and have the user pay, also what was canceled. Without it that is `not_retryable`: "
        "whoever sees it wait and wants it woken does not order what the user cancels in the same moment.",
    )


class Resolution(Because):
    """What became of an order that was in doubt."""

    outcome: Outcome = Field(description="settled: the vendor has billed it; refunded: it hasn't, or has paid it back")


class AskedUsers(Fields):
    """Which users to show."""

    query: Annotated[Text, Field(min_length=1, max_length=200)] | None = Field(
        None, description="In the address or the name, whatever its case; or exactly a subject or an id."
    )
    cursor: str | None = Field(None, max_length=300, description="`next_cursor` of the page before.")
    limit: int = Field(20, ge=1, le=100, description="How many at most.")


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
    cursor: str | None = Field(None, max_length=300, description="`next_cursor` of the page before.")
    limit: int = Field(20, ge=1, le=100, description="How many at most.")


class AskedLog(Fields):
    """Which lines of the log to show."""

    user_id: UUID | None = Field(None, description="To whom it was done.")
    generation_id: UUID | None = None
    admin_id: UUID | None = Field(None, description="Who did it.")
    action: Action | None = None
    cursor: str | None = Field(None, max_length=300, description="`next_cursor` of the page before.")
    limit: int = Field(20, ge=1, le=100, description="How many at most.")


class AdminUser(BaseModel):
    """A user. `available` is the balance in credits."""

    id: UUID
    issuer: str
    subject: str
    email: str | None
    display_name: str
    role: Literal["user", "admin"]
    is_member: bool
    created_at: datetime
    deleted_at: datetime | None
    available: int
    active_generations: int


class AdminUsers(BaseModel):
    """One page of users, newest first."""

    data: list[AdminUser]
    next_cursor: str | None


class AdminUserDetail(AdminUser):
    """A user with the figures of their account, in credits, as they see them themselves."""

    reserved: int
    lifetime_granted: int
    lifetime_spent: int


class Owner(BaseModel):
    """Whose generation it is."""

    id: UUID
    email: str | None
    display_name: str
    deleted_at: datetime | None


class Output(BaseModel):
    """A stored file without its address: who has that has the picture."""

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
    outputs: list[Output]
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
    """A generation with what was ordered and what became of each try.

    `input` has the prompt, and of pictures only their ids.
    """

    input: dict[str, Any]
    steps: list[AdminStep]


class Person(BaseModel):
    """Somebody, with the address that they have now."""

    id: UUID
    email: str | None


class LogLine(BaseModel):
    """Who did what to whom, why and when."""

    id: UUID
    admin: Person
    action: Action
    user: Person
    generation_id: UUID | None
    reason: str
    details: dict[str, Any]
    created_at: datetime


class Log(BaseModel):
    """One page of the log, newest first."""

    data: list[LogLine]
    next_cursor: str | None
