"""Made-up answers in the form of any pydantic model, generated from its JSON schema and then checked by the model.

Written here after a look at what there is. polyfactory fills models well, but its strings are random letters, its
dates depend on the day, its random state belongs to the whole process, its patterns with length limits may come out
wrong (its issue 124), and it brings Faker: 25 MB into every production install. jsf needs Faker as well.
hypothesis-jsonschema is for tests: its values are odd on purpose, and may change with each version.

A value comes from its field's name and description and from the prompt. A field's `examples` win over that: so a model
can help where its pattern or validator is too odd to be met.
"""

import json
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel
from pydantic.errors import PydanticInvalidForJsonSchema
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue
from pydantic_core import core_schema

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Data
from tallyframe.providers.offline.looking import Seen
from tallyframe.providers.offline.phrases import Phrases
from tallyframe.providers.offline.sampler import Endless, Sampler, Unordered
from tallyframe.providers.structured import read_structured


def make_up(model: type[BaseModel], prompt: str, seen: Sequence[Seen] = ()) -> Data:
    """Return an answer to the prompt, and to the pictures that were seen.

    Raises ProviderError (provider_rejected, final), which names the fields, where the model is too odd.
    """
    try:
        schema = model.model_json_schema(schema_generator=_FullSchema)
        invented = Sampler(schema.get("$defs", {}), Phrases(prompt, seen)).value(schema)
        answer = read_structured(json.dumps(invented, default=str), model)
    except PydanticInvalidForJsonSchema as error:
        raise _impossible(f"{model.__name__}: {error.message}") from None
    except Endless as error:
        raise _impossible(f"{model.__name__}: {error} contains itself without an end.") from None
    except ProviderError as error:
        raise _impossible(error.operator_message) from None
    return Data(_sorted(invented, answer.value))


def _sorted(invented: Any, checked: Any) -> Any:  # noqa: ANN401  # JSON values
    """Sort what has been a set meanwhile: its order differs from process to process."""
    if isinstance(invented, Unordered) and isinstance(checked, list):
        return sorted(checked, key=json.dumps)
    if isinstance(invented, list) and isinstance(checked, list):
        return [_sorted(*pair) for pair in zip(invented, checked, strict=False)]
    if isinstance(invented, dict) and isinstance(checked, dict):
        return {name: _sorted(invented.get(name), each) for name, each in checked.items()}
    return checked


def _impossible(why: str) -> ProviderError:
    said = f"The offline provider can't make this up; `examples` on the field would help it. {why}"
    return ProviderError(FailureCode.PROVIDER_REJECTED, operator_message=said)


class _FullSchema(GenerateJsonSchema):
    """The usual JSON schema, with what it leaves out: types of keys, dates in the future, times without a zone."""

    def dict_schema(self, schema: core_schema.DictSchema) -> JsonSchemaValue:
        keys = self.generate_inner(schema["keys_schema"]) if "keys_schema" in schema else {}
        return {"propertyNames": keys} | super().dict_schema(schema)

    def date_schema(self, schema: core_schema.DateSchema) -> JsonSchemaValue:
        return super().date_schema(schema) | {"x-future": schema.get("now_op") == "future"}

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        known = {"x-future": schema.get("now_op") == "future", "x-naive": schema.get("tz_constraint") == "naive"}
        return super().datetime_schema(schema) | known
