"""Gemini's generateContent for text and vision in small: it checks each request and writes what the schema asks for."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tests.support.google import FakeGemini, candidate, only, said_by_user
from tests.support.google_wire import expect

TEXT_MODEL = "gemini-3.8-flash"

#: The keywords that Google documents for `responseJsonSchema`.
_KEYWORDS = {
    *("$id", "$defs", "$ref", "$anchor", "type", "format", "title", "description", "enum", "items", "prefixItems"),
    *("minItems", "maxItems", "minimum", "maximum", "anyOf", "oneOf", "properties", "additionalProperties"),
    *("required", "propertyOrdering"),
}


@dataclass(frozen=True)
class Asked:
    """What a request asks for."""

    instructions: str
    prompt: str
    pictures: tuple[tuple[str, bytes], ...]  # content type and bytes
    schema: dict[str, Any]
    max_output_tokens: int
    thinking: str | None  # the level


@dataclass
class FakeGeminiText(FakeGemini):
    """The same service for a model that writes; `orders` are `Asked`."""

    model: str = TEXT_MODEL

    def _order(self, body: dict[str, Any], model: str) -> Asked:
        only(body, "contents", "systemInstruction", "generationConfig")
        prompt, pictures = said_by_user(body)
        system = body["systemInstruction"]
        expect(set(system) <= {"parts", "role"} and len(system["parts"]) == 1, f"odd instructions: {sorted(system)}")
        only(system["parts"][0], "text")
        config = dict(body["generationConfig"])
        thinking = config.pop("thinkingConfig", None)
        expect(thinking is None or not model.startswith("gemini-2."), "this model has no levels of thinking")
        only(config, "responseMimeType", "responseJsonSchema", "maxOutputTokens")
        expect(config["responseMimeType"] == "application/json", "a schema needs JSON")
        expect(0 < config["maxOutputTokens"] <= 65_536, "an odd number of tokens")
        check_schema(config["responseJsonSchema"])
        level = thinking.get("thinkingLevel") or thinking["thinking_level"] if thinking else None  # the SDK's own way
        expect(level in {None, "LOW", "MEDIUM", "HIGH"}, f"the level {level}")
        return Asked(
            system["parts"][0]["text"], prompt, pictures, config["responseJsonSchema"], config["maxOutputTokens"], level
        )

    def _made(self, order: Any) -> dict[str, Any]:
        return written(json.dumps(example(order.schema, order.schema)))


def written(*texts: str, reason: str | None = "STOP", message: str | None = None) -> dict[str, Any]:
    """The body of an answer in words, with a thought before them that nobody asked for."""
    thought = {"text": '{"never": "read"}', "thought": True}
    body = candidate(thought, *({"text": text} for text in texts), reason=reason, message=message)
    body["candidates"][0]["content"]["parts"][-1]["thoughtSignature"] = "c2ln"
    body["usageMetadata"] = {
        "promptTokenCount": 310,
        "candidatesTokenCount": 90,
        "thoughtsTokenCount": 45,
        "totalTokenCount": 445,
        "promptTokensDetails": [{"modality": "TEXT", "tokenCount": 310}],
    }
    return {**body, "modelVersion": TEXT_MODEL, "responseId": "resp-0003"}


def check_schema(schema: Mapping[str, Any], root: Mapping[str, Any] | None = None) -> None:
    """Raise Wrong for what Google would refuse or ignore, and for an object that isn't closed."""
    root = schema if root is None else root
    expect(set(schema) <= _KEYWORDS, f"unknown keywords: {sorted(set(schema) - _KEYWORDS)}")
    if "$ref" in schema:
        expect(all(key.startswith("$") for key in schema), f"keywords beside a reference: {sorted(schema)}")
        referred(schema["$ref"], root)
    if "properties" in schema:
        expect(schema["required"] == list(schema["properties"]), "a property that may be missing")
        expect(schema["additionalProperties"] is False, "an object that may have more")
    expect(all(isinstance(each, str | int | float) for each in schema.get("enum", ())), "an odd enum")
    for each in _below(schema):
        check_schema(each, root)


def _below(schema: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    named = [*schema.get("$defs", {}).values(), *schema.get("properties", {}).values()]
    listed = [each for key in ("anyOf", "oneOf", "prefixItems") for each in schema.get(key, ())]
    single = [schema[key] for key in ("items", "additionalProperties") if isinstance(schema.get(key), dict)]
    return [*named, *listed, *single]


def referred(ref: str, root: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a reference stands for, or raise Wrong."""
    match = re.fullmatch(r"#/\$defs/([\w-]+)", ref)
    expect(match and match[1] in root.get("$defs", {}), f"a reference to nothing: {ref}")
    found: Mapping[str, Any] = root["$defs"][match[1] if match else ""]
    return found


def example(schema: Mapping[str, Any], root: Mapping[str, Any]) -> Any:
    """A value in the form of the schema."""
    if "$ref" in schema:
        return example(referred(schema["$ref"], root), root)
    if "anyOf" in schema:
        return example(schema["anyOf"][0], root)
    if "enum" in schema:
        return schema["enum"][0]
    if schema["type"] == "object":
        return {name: example(each, root) for name, each in schema.get("properties", {}).items()}
    if schema["type"] == "array":
        return [example(schema["items"], root)] * max(1, schema.get("minItems", 1))
    plain: dict[str, Any] = {"string": "some words", "boolean": True, "null": None}
    return plain.get(schema["type"], schema.get("minimum", 1))
