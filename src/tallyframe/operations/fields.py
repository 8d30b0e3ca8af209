"""The kinds of fields that orders have. Unknown fields are refused; every limit has a number."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, StringConstraints, WithJsonSchema
from pydantic_core import PydanticUseDefault

#: Characters of a prompt, and input pictures of an order, at most.
MAX_PROMPT = 4000
MAX_PICTURES = 4
#: No NUL, which Postgres can't store as text. Where a text has any pattern, pydantic refuses lone surrogates by itself.
NO_NUL = r"^[^\x00]*$"
#: What JSON schema says of a text that is not blank: one character that `str.strip` leaves, and no NUL.
NOT_BLANK: dict[str, JsonValue] = {"pattern": r"^[^\x00]*[^\s\x00\x1c-\x1f\x85][^\x00]*$"}
NOT_TEXT = "contains characters that are not text"


class Fields(BaseModel):
    """The fields of an order, as sent or as kept: frozen, and unknown fields are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def _no_bool(value: object) -> object:
    """Refuse true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004  # pydantic makes a validation error of it
    return value


def _default_for_null(value: object) -> object:
    if value is None:
        raise PydanticUseDefault
    return value


def or_null(kind: Any) -> BeforeValidator:  # noqa: ANN401  # any type
    """Return what lets a field of this kind, which has a default, be `null`: then it is as if left out."""
    return BeforeValidator(_default_for_null, json_schema_input_type=kind | None)


#: Takes blanks at both ends away: those of Python, as `NOT_BLANK` has it. pydantic's own leaves U+001C to U+001F.
Stripped = BeforeValidator(lambda text: text.strip() if isinstance(text, str) else text)

Text = Annotated[str, StringConstraints(pattern=NO_NUL)]
Prompt = Annotated[
    str,
    StringConstraints(min_length=1, max_length=MAX_PROMPT, pattern=NO_NUL),
    Field(json_schema_extra=NOT_BLANK),
    Stripped,
]
Seconds = Annotated[int, Field(ge=1), BeforeValidator(_no_bool)]  # in this order the schema says `minimum`
AspectRatio = Literal["1:1", "9:16", "16:9", "4:5", "3:4"]


class IsPicture:
    """Marks a type whose values are input pictures; `pictures.py` finds them."""


def _only(**field: JsonValue) -> JsonValue:
    return {"type": "object", "properties": field, "required": list(field), "additionalProperties": False}


#: An input picture. A client sends `{"asset_id": …}` or `{"url": …}`; what an operation gets is the id of a stored one.
Picture = Annotated[
    UUID,
    IsPicture(),
    WithJsonSchema(
        {
            "description": "A picture: uploaded before with POST /v1/assets, or to be fetched from a public address.",
            "oneOf": [
                _only(asset_id={"type": "string", "format": "uuid"}),
                _only(url={"type": "string", "minLength": 1, "maxLength": 2048, "pattern": NO_NUL}),
            ],
        }
    ),
]
