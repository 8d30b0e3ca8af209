"""What comes in. Unknown fields are refused; every limit has a number."""

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any
from uuid import UUID

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BeforeValidator,
    ConfigDict,
    Discriminator,
    Field,
    JsonValue,
    StringConstraints,
    Tag,
    ValidationError,
    WithJsonSchema,
)
from pydantic_core import InitErrorDetails

from tallyframe.json_values import MOST_LEVELS, is_too_deep
from tallyframe.operations.fields import (
    MAX_PICTURES,
    NO_NUL,
    NOT_BLANK,
    NOT_TEXT,
    AspectRatio,
    Fields,
    Prompt,
    Seconds,
    Stripped,
    Text,
    or_null,
)


def _shallow(value: object) -> object:
    """Refuse what is nested so deep that walking it would exhaust the stack."""
    if is_too_deep(value):
        raise ValueError(f"may be nested in {MOST_LEVELS} levels at most")
    return value


def _is_text(value: str) -> bool:
    """Tell whether Postgres can store it: it has no NUL, and no half of a surrogate pair."""
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return "\x00" not in value


def _text(value: str) -> str:
    """Refuse what `Text` refuses; for keys, whose pattern would replace `additionalProperties` in the API document."""
    if not _is_text(value):
        raise ValueError(NOT_TEXT)
    return value


def _unstorable(value: object, *place: str | int) -> Iterator[tuple[tuple[str | int, ...], str]]:
    """Find what Postgres can't store, wherever it stands: some strings, and numbers that JSON hasn't (NaN)."""
    if isinstance(value, str) and not _is_text(value):
        yield place, NOT_TEXT
    elif isinstance(value, float) and not math.isfinite(value):
        yield place, "must be a finite number"
    elif isinstance(value, list):
        for position, item in enumerate(value):
            yield from _unstorable(item, *place, position)
    elif isinstance(value, dict):
        for key, item in value.items():
            # A key that is no text can't stand in an answer either.
            yield from _unstorable(item, *place, key) if _is_text(key) else [(place, f"has a name that {NOT_TEXT}")]


def _storable(value: dict[str, Any]) -> dict[str, Any]:
    """Refuse what Postgres can't store, each with its place."""
    lines: list[InitErrorDetails] = [
        {"type": "value_error", "loc": place, "input": None, "ctx": {"error": ValueError(words)}}
        for place, words in _unstorable(value)
    ]
    if lines:
        raise ValidationError.from_exception_data("input", lines)
    return value


Labels = Annotated[
    dict[
        Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_text)],
        Annotated[Text, Field(max_length=512)],
    ],
    Field(max_length=16, json_schema_extra={"propertyNames": {"minLength": 1, "maxLength": 64, "pattern": NO_NUL}}),
]
Metadata = Annotated[Labels, or_null(Labels)]


#: A point in time, with its zone, near enough to be one that somebody means.
Moment = Annotated[
    AwareDatetime,
    Field(ge=datetime(2000, 1, 1, tzinfo=UTC), lt=datetime(3000, 1, 1, tzinfo=UTC)),
    WithJsonSchema(
        {"type": "string", "format": "date-time", "pattern": "^2[0-9]{3}-"}
    ),  # JSON schema compares no times
]


class AssetRef(Fields):
    """A picture uploaded before with `POST /v1/assets`."""

    asset_id: UUID


class UrlRef(Fields):
    """A picture to fetch, from a public http(s) address."""

    url: Annotated[Text, Field(min_length=1, max_length=2048)]


def _form_of(ref: object) -> str | None:
    """Return which of the two a picture is; None where it says neither, or both."""
    fields = ref.keys() if isinstance(ref, dict) else type(ref).model_fields if isinstance(ref, Fields) else ()
    forms = [form for field, form in (("asset_id", "AssetRef"), ("url", "UrlRef")) if field in fields]
    return forms[0] if len(forms) == 1 else None


PictureRef = Annotated[
    Annotated[AssetRef, Tag("AssetRef")] | Annotated[UrlRef, Tag("UrlRef")],
    Discriminator(
        _form_of,
        custom_error_type="picture_form",
        custom_error_message='must be {"asset_id": …} or {"url": …}',
    ),
]


def example(**fields: JsonValue) -> ConfigDict:
    """Return the settings of a model that the OpenAPI document shows with these fields, to be sent as they are."""
    return ConfigDict(json_schema_extra={"examples": [fields]})


TEAPOT = "A teapot on a wooden table in the morning light"


Pictures = Annotated[list[PictureRef], Field(max_length=MAX_PICTURES)]


class NewProject(Fields):
    """An order for a new project."""

    model_config = example(kind="image", prompt=TEAPOT)

    kind: Annotated[Text, Field(min_length=1, max_length=64, description="An operation that makes media.")]
    prompt: Prompt | None = None
    prompt_id: UUID | None = None
    aspect_ratio: AspectRatio | None = Field(
        None, description="Left out: 1:1, or 9:16 for a video where no provider makes square ones."
    )
    images: Annotated[Pictures, or_null(Pictures)] = Field([])
    duration_seconds: Seconds | None = Field(None, description="Videos only; whole seconds.")
    metadata: Metadata = Field(default={})


Anything = Annotated[dict[str, Any], BeforeValidator(_shallow), AfterValidator(_storable)]


class NewGeneration(Fields):
    """An order for any operation of `GET /v1/operations`."""

    model_config = example(operation="image", input={"prompt": TEAPOT})

    operation: Annotated[Text, Field(min_length=1, max_length=64)]
    input: Annotated[dict[str, Any], BeforeValidator(_shallow), AfterValidator(_storable), or_null(dict[str, Any])] = (
        Field(default={}, description="As `input_schema` of the operation says.")
    )
    project_id: UUID | None = Field(None, description="The project that it is for; left out: none.")
    max_credits: Annotated[int, Field(ge=0, strict=True)] | None = Field(
        None, description="The order is refused as `price_changed` when it would cost more."
    )
    metadata: Metadata = Field(default={})


class NewVideo(Fields):
    """An order for a video of a project; what is left out is taken from the project."""

    model_config = example(prompt="The teapot turns slowly")

    prompt: Prompt | None = None
    aspect_ratio: AspectRatio | None = None
    duration_seconds: Seconds | None = None


NO_WISHES = NewVideo()


KeyName = Annotated[
    str,
    StringConstraints(min_length=1, max_length=80, pattern=NO_NUL),
    Field(json_schema_extra=NOT_BLANK),
    Stripped,
]


class NewApiKey(Fields):
    """A name for a new key."""

    model_config = example(name="My server")

    name: Annotated[KeyName, or_null(KeyName)] = Field("API key")


UNNAMED = NewApiKey()
