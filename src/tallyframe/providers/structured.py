"""Structured answers: the schema that a model is told to keep to, and what it wrote, checked again on our side.

A vendor's promise to keep to a schema is checked here: models are cut off, ignore limits, and answer in prose.
"""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.json_values import MOST_LEVELS, is_too_deep
from tallyframe.providers.base import Data, dump

_MOST_PROBLEMS = 5
#: What OpenAI's strict mode knows nothing of; pydantic checks it afterwards.
_UNKNOWN = frozenset({"default", "title", "examples"})
_OF_NAMES = frozenset({"$defs", "properties"})  # their keys are names, and no keywords


def strict_schema(model: type[BaseModel]) -> dict[str, Any]:
    """Return the model's JSON schema in the strict form: every property is required, and no other is allowed.

    The form is that of OpenAI's structured outputs, which Gemini's `responseJsonSchema` takes as well.
    """
    schema: dict[str, Any] = _strict(model.model_json_schema())
    return schema


def narrowed(key: str, value: Any, narrow: Callable[[Mapping[str, Any]], dict[str, Any]]) -> Any:  # noqa: ANN401  # JSON
    """Return the value of a schema's keyword with `narrow` done to each schema that stands in it."""
    if key in _OF_NAMES:
        return {name: narrow(each) for name, each in value.items()}
    if isinstance(value, list):
        return [narrow(each) if isinstance(each, dict) else each for each in value]
    return narrow(value) if isinstance(value, dict) else value


def ref_apart(schema: dict[str, Any]) -> dict[str, Any]:
    """Return the schema in a form in which nothing stands beside a `$ref`, which vendors refuse."""
    beside = {key: value for key, value in schema.items() if not key.startswith("$")}
    return {"anyOf": [{"$ref": schema["$ref"]}], **beside} if "$ref" in schema and beside else schema


def _strict(node: Any) -> Any:  # noqa: ANN401  # any JSON value
    if isinstance(node, list):
        return [_strict(item) for item in node]
    if not isinstance(node, dict):
        return node
    properties = node.get("properties")
    if not isinstance(properties, dict):
        return {key: _strict(value) for key, value in node.items() if key not in _UNKNOWN}
    rest = {key: _strict(value) for key, value in node.items() if key not in {*_UNKNOWN, "properties"}}
    kept = {name: _strict(value) for name, value in properties.items()}  # a property may be called "title"
    return {**rest, "properties": kept, "required": list(properties), "additionalProperties": False}


def read_structured(text: str | None, model: type[BaseModel]) -> Data:
    """Return what a model wrote as an instance of `model`, in JSON values that Postgres can keep.

    Raises ProviderError (provider_rejected, retryable) where it is empty, no JSON, nested too deep, or not in the
    model's form. Its message names the places that are wrong, and never what stands there.
    """
    if not text or not text.strip():
        raise _no_use("the answer is empty")
    try:
        value = json.loads(text, parse_constant=_finite, parse_float=_finite)
    except (ValueError, RecursionError):
        raise _no_use(f"its {len(text):,} characters are no JSON") from None
    if is_too_deep(value):
        raise _no_use(f"it is nested in more than {MOST_LEVELS} levels")
    try:
        answer = model.model_validate(_storable(value), strict=False)
    except ValidationError as error:
        found = error.errors(include_input=False, include_url=False, include_context=False)[:_MOST_PROBLEMS]
        places = ", ".join(f"{'.'.join(map(str, each['loc'])) or 'the whole'} ({each['type']})" for each in found)
        raise _no_use(f"it is not in the form of {model.__name__}: {places}") from None
    try:
        return Data(dump(answer))
    except ValueError as error:  # a mistake in the model's code, which a second purchase would only repeat
        said = f"{model.__name__} is not the same when it is read back ({type(error).__name__}): mend the model."
        raise ProviderError(FailureCode.PROVIDER_REJECTED, spent=True, operator_message=said) from None


def _finite(digits: str) -> float:
    """Return the number. Raises ValueError for what JSON hasn't: NaN, Infinity, and 1e400, which would be infinite."""
    if not math.isfinite(number := float(digits)):
        raise ValueError(digits)
    return number


def _storable(value: Any) -> Any:  # noqa: ANN401  # any JSON value
    """Take out of all strings what no row can hold: NUL, and halves of characters."""
    if isinstance(value, str):
        return value.replace("\x00", "").encode(errors="replace").decode()
    if isinstance(value, list):
        return [_storable(item) for item in value]
    if isinstance(value, dict):
        return {_storable(key): _storable(item) for key, item in value.items()}
    return value


def _no_use(why: str) -> ProviderError:
    return ProviderError(
        FailureCode.PROVIDER_REJECTED, retryable=True, operator_message=f"The answer can't be used: {why}."
    )
