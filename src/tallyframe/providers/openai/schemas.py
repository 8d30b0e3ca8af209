"""The form of an answer as OpenAI's strict mode takes it: a part of JSON Schema.

Source: OpenAI's guide on structured outputs, November 2026. A keyword that it doesn't know is refused with 400, and so
is one beside `$ref`. What is left out here is checked on our side when the answer comes.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tallyframe.providers.structured import narrowed, ref_apart, strict_schema

_KNOWN = frozenset(
    {
        *("$defs", "$ref", "type", "description", "enum", "const", "items", "anyOf", "properties", "required"),
        *("additionalProperties", "pattern", "format", "minItems", "maxItems", "multipleOf"),
        *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
    }
)
_FORMATS = frozenset({"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"})


def openai_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the model's strict JSON schema without what OpenAI doesn't know; a string's length becomes words."""
    return _known(strict_schema(model))


def _known(schema: Mapping[str, Any]) -> dict[str, Any]:
    kept = {key: narrowed(key, value, _known) for key, value in schema.items() if key in _KNOWN}
    if "oneOf" in schema:  # of a union that a field tells apart
        kept["anyOf"] = narrowed("anyOf", schema["oneOf"], _known)
    if kept.get("format") not in _FORMATS:
        kept.pop("format", None)
    if "maxLength" in schema:  # a model that is told keeps to it; an answer that doesn't is billed all the same
        kept["description"] = f"{schema.get('description', '')} At most {schema['maxLength']} characters.".strip()
    return ref_apart(kept)
