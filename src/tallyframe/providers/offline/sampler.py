"""Makes a value for each part of a pydantic model's JSON schema."""

import json
import sys
from collections.abc import Mapping
from typing import Any

from tallyframe.providers.offline.formats import in_format
from tallyframe.providers.offline.numbers import number_for
from tallyframe.providers.offline.patterns import matching
from tallyframe.providers.offline.phrases import Path, Phrases, turn_of

Node = Mapping[str, Any]  # a part of a JSON schema
Refs = tuple[str, ...]  # the models that a part is in

_ITEMS = 3  # of a list or a mapping, where its bounds don't say otherwise
_NESTED = 2  # times that a model may stand within itself, itself included
_OF_TYPE = {"boolean": (True,), "null": (None,)}
_LATE = {"string": 1, "null": 2}  # of several types, these are taken last
_TRIES = 100  # to find items or keys that differ


class Endless(Exception):
    """The model that the message names is in itself too often here."""


class Unordered(list[Any]):
    """The items of a set, each once."""


class Sampler:
    """Makes values; `definitions` is the schema's `$defs`."""

    def __init__(self, definitions: Node, phrases: Phrases) -> None:
        self._definitions = definitions
        self._phrases = phrases

    def value(self, node: Node, path: Path = (), refs: Refs = ()) -> Any:  # noqa: ANN401  # any JSON value
        """Return a JSON value for the node. Raises Endless where a model can't but contain itself."""
        if "$ref" in node:
            ref = node["$ref"].removeprefix("#/$defs/")
            if refs.count(ref) >= _NESTED:
                raise Endless(ref)
            siblings = {key: value for key, value in node.items() if key not in {"$ref", "$defs"}}
            return self.value({**self._definitions[ref], **siblings}, path, (*refs, ref))
        if isinstance(node.get("type"), list):
            node = {**node, "type": node["type"][0]}
        if fixed := _fixed(node):
            turn = turn_of(path)
            true = [each for each in fixed if each in self._phrases.facts(turn)] if turn < _ITEMS else []
            return (true or fixed[turn % len(fixed) :])[0]
        if options := node.get("anyOf") or node.get("oneOf"):
            return self._one_of(node, options, path, refs)
        if node.get("type") in {"integer", "number"}:
            return number_for(node, self._phrases.dice(path))
        makers = {"object": self._object, "array": self._array}
        return makers.get(node.get("type", ""), self._string)(node, path, refs)  # where any type will do, a string

    def _one_of(self, node: Node, options: list[Node], path: Path, refs: Refs) -> Any:  # noqa: ANN401  # any JSON value
        """Take the first option that ends; of those with a discriminator, another one for each item of a list."""
        turn = turn_of(path) % len(options) if "discriminator" in node else 0
        described = {key: node[key] for key in ("description",) if key in node}
        endless = Endless()
        # Strings come late, as not any string is a Decimal, for one; null comes last.
        for option in sorted([*options[turn:], *options[:turn]], key=lambda each: _LATE.get(str(each.get("type")), 0)):
            try:
                return self.value({**described, **option}, path, refs)
            except Endless as error:
                endless = error
        raise endless

    def _object(self, node: Node, path: Path, refs: Refs) -> dict[str, Any]:
        """Make every property, also those that have a default; or a mapping of that kind."""
        if "properties" not in node:
            return self._mapping(node, path, refs)
        made = {}
        for name, each in node["properties"].items():
            try:
                made[name] = self.value(each, (*path, name), refs)
            except Endless:
                if name in node.get("required", ()):
                    raise
        return made

    def _mapping(self, node: Node, path: Path, refs: Refs) -> dict[str, Any]:
        allowed = node.get("patternProperties", {"": node.get("additionalProperties", False)})
        each = next(iter(allowed.values()))
        if each is False:
            return {}
        keys = node.get("propertyNames", {})
        made: dict[str, Any] = {}
        for turn in range(_TRIES):
            if len(made) >= _count(node, "Properties", refs):
                break
            key = self._phrases.word(turn) if keys in ({}, {"type": "string"}) else self.value(keys, (*path, turn))
            try:
                made[str(key)] = self.value({} if each is True else each, (*path, str(key)), refs)
            except Endless:
                if node.get("minProperties"):
                    raise
                break
        return made

    def _array(self, node: Node, path: Path, refs: Refs) -> list[Any]:
        made = [self.value(each, (*path, turn), refs) for turn, each in enumerate(node.get("prefixItems", ()))]
        items = node.get("items")
        if not isinstance(items, Mapping):
            return made
        count = _count(node, "Items", refs)
        for turn in range(len(made), count + _TRIES):
            if len(made) >= count:
                break
            try:
                item = self.value(items, (*path, turn), refs)
            except Endless:
                if node.get("minItems"):
                    raise
                break
            if item not in made or not node.get("uniqueItems"):
                made.append(item)
        return Unordered(made) if node.get("uniqueItems") else made

    def _string(self, node: Node, path: Path, refs: Refs) -> str:
        if "contentSchema" in node:
            return json.dumps(self.value(node["contentSchema"], path, refs))
        low, high = node.get("minLength", 0), node.get("maxLength", sys.maxsize)
        text = self._phrases.text(path, node.get("description", ""), low, high)
        if "pattern" in node:
            return matching(node["pattern"], low, high, natural=text, turn=turn_of(path)) or text
        of_day = {"is_future": node.get("x-future", False), "is_naive": node.get("x-naive", False)}
        return in_format(node.get("format", ""), self._phrases.dice(path), text, **of_day) or text


def _fixed(node: Node) -> list[Any]:
    """Return the values that a node lists, or nothing."""
    if node.get("examples") and "properties" not in node:
        return list(node["examples"])
    if "const" in node:
        return [node["const"]]
    return list(node.get("enum", _OF_TYPE.get(node.get("type", ""), ())))


def _count(node: Node, what: str, refs: Refs) -> int:
    """Return how many items or properties to make: fewer where a model is in itself."""
    usual = _ITEMS if len(refs) == len(set(refs)) else 1
    return int(min(max(node.get(f"min{what}", 0), usual), node.get(f"max{what}", sys.maxsize)))
