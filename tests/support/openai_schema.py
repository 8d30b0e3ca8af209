"""OpenAI's strict JSON schemas: what they must look like, and the smallest value that keeps to one."""

from typing import Any

from tests.support.google_wire import expect

_DEEPEST = 10  # levels of objects in objects, as OpenAI documents it
_KNOWN = {
    *("$defs", "$ref", "type", "description", "enum", "const", "items", "anyOf", "properties", "required"),
    *("additionalProperties", "pattern", "format", "minItems", "maxItems", "multipleOf"),
    *("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"),
}
_FORMATS = {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}


def check_strict(schema: dict[str, Any]) -> None:
    """Raise Wrong unless OpenAI would take this schema in strict mode."""
    expect(schema.get("type") == "object" and "anyOf" not in schema, "the root is no object")
    _check(schema, 0)
    for definition in schema.get("$defs", {}).values():
        _check(definition, 0)


def _check(node: dict[str, Any], depth: int) -> None:
    expect(depth <= _DEEPEST, "too deep")
    expect(set(node) <= _KNOWN, f"not permitted: {sorted(set(node) - _KNOWN)}")
    expect("$ref" not in node or len(node) == 1, "keywords beside $ref")
    expect(node.get("format", "uuid") in _FORMATS, f"an unknown format: {node.get('format')}")
    expect({"type", "$ref", "anyOf", "enum", "const"} & set(node), f"a value of any type: {node}")
    if "properties" in node or node.get("type") == "object":
        expect(node.get("additionalProperties") is False, "other properties are allowed")
        expect(sorted(node["required"]) == sorted(node["properties"]), "not every property is required")
    for child in [*node.get("properties", {}).values(), *node.get("anyOf", [])]:
        _check(child, depth + 1)
    if node.get("type") == "array":
        _check(node["items"], depth)


def written(schema: dict[str, Any], whole: dict[str, Any] | None = None) -> Any:
    """Return a small value that keeps to a schema, as a model would write it."""
    whole = whole or schema
    if "$ref" in schema:
        return written(whole["$defs"][schema["$ref"].rsplit("/", 1)[1]], whole)
    if "anyOf" in schema:
        return written(schema["anyOf"][0], whole)
    if "enum" in schema or "const" in schema:
        return schema["const"] if "const" in schema else schema["enum"][0]
    kind = schema["type"]
    if kind == "object":
        return {name: written(child, whole) for name, child in schema["properties"].items()}
    if kind == "array":
        return [written(schema["items"], whole)] * max(1, schema.get("minItems", 1))
    simple = {"string": "Words.", "integer": schema.get("minimum", 1), "number": schema.get("minimum", 0.5)}
    return {**simple, "boolean": True, "null": None}[kind]
