"""The form of an answer as Gemini's `responseJsonSchema` takes it: a part of JSON Schema.

Source: the description of GenerateContentConfig.response_json_schema in google-genai 3.4.0. It names the keywords that
are supported, and allows none beside `$ref`. What is left out here, such as the length of a string, is checked on our
side when the answer comes.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from tallyframe.providers.structured import narrowed, ref_apart, strict_schema

_KNOWN = frozenset(
    {
        *("$id", "$defs", "$ref", "$anchor", "type", "format", "description", "enum", "items", "prefixItems"),
        *("minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties"),
        "required",
    }
)


def google_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the model's strict JSON schema without what Gemini doesn't know."""
    return _known(strict_schema(model))


def _known(schema: Mapping[str, Any]) -> dict[str, Any]:
    if "const" in schema:  # the same in words that Gemini knows
        schema = {"enum": [schema["const"]], **schema}
    return ref_apart({key: narrowed(key, value, _known) for key, value in schema.items() if key in _KNOWN})
