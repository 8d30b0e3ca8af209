"""The kinds of fields that orders have. Unknown fields are refused; every limit has a number."""

from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, StringConstraints, WithJsonSchema
from pydantic.fields import FieldInfo

#: Characters of a prompt, and input pictures of an order, at most.
MAX_PROMPT = 4000
MAX_PICTURES = 4


class Fields(BaseModel):
    """What is asked for, or what is kept of it: frozen, and without fields that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def storable(text: str) -> str:
    """Refuse what Postgres can't store as text, and lone surrogates, which are no text at all."""
    if "\x00" in text or any("\ud800" <= character <= "\udfff" for character in text):
        raise ValueError("contains characters that are not text")
    return text


def _no_bool(value: object) -> object:
    """Refuse true and false, which Python takes for 1 and 0."""
    if isinstance(value, bool):
        raise ValueError("must be a whole number")  # noqa: TRY004  # pydantic makes a validation error of it
    return value


Text = Annotated[str, AfterValidator(storable)]
Prompt = Annotated[
    str,
    StringConstraints(strip_whitespace=True, min_length=1, max_length=MAX_PROMPT),
    AfterValidator(storable),
]
Seconds = Annotated[int, Field(ge=1), BeforeValidator(_no_bool)]  # in this order the schema says `minimum`
AspectRatio = Literal["1:1", "9:16", "16:9", "4:5", "3:4"]


class IsPicture:
    """Marks a field whose values are input pictures."""


#: An input picture. A client sends `{"asset_id": …}` or `{"url": …}`; what an operation gets is the id of a stored one.
Picture = Annotated[
    UUID,
    IsPicture(),
    WithJsonSchema(
        {
            "description": "A picture: uploaded before with POST /v1/assets, or to be fetched from a public address.",
            "oneOf": [
                {
                    "type": "object",
                    "properties": {"asset_id": {"type": "string", "format": "uuid"}},
                    "required": ["asset_id"],
                },
                {"type": "object", "properties": {"url": {"type": "string", "maxLength": 2048}}, "required": ["url"]},
            ],
        }
    ),
]


def picture_fields(fields: type[BaseModel]) -> dict[str, int]:
    """Return the names of the fields that hold pictures, with how many each may hold; 1 where it holds one."""
    found = {name: _most(info) for name, info in fields.model_fields.items()}
    return {name: most for name, most in found.items() if most}


def _most(info: FieldInfo) -> int:
    """Return how many pictures a field may hold; 0 for a field of another kind."""
    if any(isinstance(item, IsPicture) for item in info.metadata) or _is_picture(info.annotation):
        return 1
    if not any(_is_picture(part) for part in _parts(info.annotation)):
        return 0
    lengths = [item.max_length for item in info.metadata if hasattr(item, "max_length")]
    is_list = getattr(info.annotation, "__origin__", None) is list
    return (lengths[0] if lengths else MAX_PICTURES) if is_list else 1


def _is_picture(annotation: Any) -> bool:  # noqa: ANN401  # any annotation
    return any(isinstance(item, IsPicture) for item in getattr(annotation, "__metadata__", ()))


def _parts(annotation: Any) -> tuple[Any, ...]:  # noqa: ANN401  # any annotation
    parts: tuple[Any, ...] = getattr(annotation, "__args__", ())
    return parts
