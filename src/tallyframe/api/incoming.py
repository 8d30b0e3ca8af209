"""What comes in. Unknown fields are refused; every limit has a number."""

from datetime import UTC, datetime
from typing import Annotated, Literal, Self
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    StringConstraints,
    model_validator,
)

from tallyframe.operations.base import AspectRatio


def _no_bool(value: object) -> object:
    """Refuse true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004  # pydantic makes a validation error of it
    return value


Seconds = Annotated[int, BeforeValidator(_no_bool), Field(ge=1)]


def _storable(text: str) -> str:
    """Refuse what Postgres can't store as text, and lone surrogates, which are no text at all."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("contains characters that are not text")
    return text


Text = Annotated[str, AfterValidator(_storable)]
Prompt = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=4000),
    AfterValidator(_storable),
]
Kind = Literal["image", "video"]
Metadata = Annotated[
    dict[
        Annotated[Text, Field(min_length=1, max_length=64)],
        Annotated[Text, Field(max_length=512)],
    ],
    Field(max_length=16),
]


#: A point in time, with its zone, near enough to be one that somebody means.
Moment = Annotated[AwareDatetime, Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC))]


class Incoming(BaseModel):
    """A request body."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class AssetRef(Incoming):
    """A picture uploaded before with `POST /v1/assets`."""

    asset_id: UUID


class UrlRef(Incoming):
    """A picture to fetch, from a public http(s) address."""

    url: Annotated[Text, Field(min_length=1, max_length=2048)]


class NewProject(Incoming):
    """An order for a new project."""

    kind: Kind
    prompt: Prompt | None = None
    prompt_id: UUID | None = None
    aspect_ratio: AspectRatio | None = Field(
        None, description="Left out: 1:1, or 9:16 for a video where no provider makes square ones."
    )
    images: Annotated[list[AssetRef | UrlRef], Field(max_length=4)] = []
    duration_seconds: Seconds | None = Field(None, description="Videos only; whole seconds.")
    metadata: Metadata = {}

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.prompt is None and self.prompt_id is None:
            raise ValueError("a prompt or a prompt_id is needed")
        if self.kind == "image" and self.duration_seconds is not None:
            raise ValueError("duration_seconds is for videos")
        return self


class NewVideo(Incoming):
    """An order for a video of a project; what is left out is taken from the project."""

    prompt: Prompt | None = None
    aspect_ratio: AspectRatio | None = None
    duration_seconds: Seconds | None = None


NO_WISHES = NewVideo()


class NewApiKey(Incoming):
    """A name for a new key."""

    name: Annotated[
        str,
        StringConstraints(strip_whitespace=True, min_length=1, max_length=80),
        AfterValidator(_storable),
    ] = "API key"


UNNAMED = NewApiKey()
