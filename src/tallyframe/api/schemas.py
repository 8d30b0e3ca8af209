"""What goes out over the wire."""

from datetime import datetime
from typing import Any, Literal
from uuid import UUID

from pydantic import BaseModel


class Asset(BaseModel):
    """A stored file."""

    id: UUID
    url: str
    download_url: str
    content_type: str
    bytes: int
    sha256: str
    width: int | None
    height: int | None
    duration_seconds: float | None


class Output(Asset):
    """A file that a generation has made. `role`: what it is used as; `position`: its place among those of a role."""

    role: str
    position: int


class Media(Output):
    """What a project shows of one role and position: the newest of its versions, which count from 1."""

    version: int


class ErrorOut(BaseModel):
    """Why a generation ended without a result."""

    code: str
    message: str
    fault: Literal["user", "provider", "platform"]
    retryable: bool


class Charge(BaseModel):
    """What a generation costs, in credits; worked out from the ledger."""

    quoted: int
    charged: int
    refunded: int


class Generation(BaseModel):
    """The receipt of one paid run."""

    id: UUID
    project_id: UUID | None
    operation: str
    status: Literal["pending", "processing", "succeeded", "failed", "canceled"]
    step: Literal["queued", "generating", "storing", "completed"]
    attempt: int
    provider: str | None
    model: str | None
    credits: Charge
    error: ErrorOut | None
    outputs: list[Output]
    output: dict[str, Any] | None
    metadata: dict[str, str]
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


class Project(BaseModel):
    """What the user sees and publishes."""

    id: UUID
    kind: str
    status: Literal["pending", "processing", "draft", "published", "failed", "canceled"]
    status_sequence: int
    is_generating: bool
    is_published: bool
    prompt: str
    prompt_id: UUID | None
    aspect_ratio: str | None
    images: list[Asset]
    media: list[Media]
    image_url: str | None
    video_url: str | None
    error: ErrorOut | None
    generation: Generation | None
    metadata: dict[str, str]
    created_at: datetime
    updated_at: datetime


class Projects(BaseModel):
    """One page of projects."""

    data: list[Project]
    next_cursor: str | None


class Generations(BaseModel):
    """A project's receipts, newest first."""

    data: list[Generation]


class GenerationPage(BaseModel):
    """One page of generations, newest first."""

    data: list[Generation]
    next_cursor: str | None


class OfferOut(BaseModel):
    """What the providers here make for an operation; empty lists where it has no such choice."""

    aspect_ratios: list[str]
    durations_seconds: list[int]
    max_images: int


class OperationOut(BaseModel):
    """Something that can be bought. `input_schema` is the JSON schema of `input`, `limits` are the settings'."""

    name: str
    credits: int
    description: str
    input_schema: dict[str, Any]
    offers: OfferOut
    limits: dict[str, int]


class OperationList(BaseModel):
    """All that can be bought here."""

    data: list[OperationOut]


class Published(BaseModel):
    """A published project as everybody sees it."""

    id: UUID
    kind: str
    prompt: str
    aspect_ratio: str | None
    image_url: str | None
    video_url: str | None
    display_name: str
    published_at: datetime


class Explore(BaseModel):
    """One page of published projects."""

    data: list[Published]
    next_cursor: str | None


class Me(BaseModel):
    """The signed-in user."""

    id: UUID
    email: str | None
    display_name: str
    role: Literal["user", "admin"]
    is_member: bool
    created_at: datetime


class CreditsOut(BaseModel):
    """The account in credits. `reserved` is what still-running generations were debited."""

    available: int
    reserved: int
    lifetime_granted: int
    lifetime_spent: int


class Entry(BaseModel):
    """One line of the ledger, in credits."""

    id: UUID
    kind: str
    amount: int
    balance_after: int
    generation_id: UUID | None
    reverses_entry_id: UUID | None
    reason: str | None
    created_at: datetime


class Entries(BaseModel):
    """One page of the ledger, newest first."""

    data: list[Entry]
    next_cursor: str | None


class ApiKeyOut(BaseModel):
    """An API key without its secret."""

    id: UUID
    name: str
    last_four: str
    created_at: datetime


class AssetUsage(BaseModel):
    """How many pictures you have uploaded, and may have; an unused one is deleted after `unused_days`."""

    assets: int
    bytes: int
    max_assets: int
    max_bytes: int
    unused_days: int


class Assets(BaseModel):
    """A page of the pictures that you have uploaded for later orders, newest first."""

    data: list[Asset]
    next_cursor: str | None
    usage: AssetUsage


class ApiKeys(BaseModel):
    """A page of the user's keys, newest first."""

    data: list[ApiKeyOut]
    next_cursor: str | None


class NewApiKeyOut(ApiKeyOut):
    """A new API key. `secret` is shown this once, and null when a repeated request is answered again."""

    secret: str | None


class Price(BaseModel):
    """What an operation costs."""

    operation: str
    credits: int


class Pricing(BaseModel):
    """All prices."""

    data: list[Price]


class FieldProblem(BaseModel):
    """What is wrong with one field; `pointer` is a JSON pointer."""

    pointer: str
    detail: str


class Problem(BaseModel):
    """An error, as RFC 9457 has it."""

    type: str
    title: str
    status: int
    detail: str
    code: str
    request_id: str
    errors: list[FieldProblem] | None = None
