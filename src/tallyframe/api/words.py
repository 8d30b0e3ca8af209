"""What is wrong with a value, in our words and in terms of JSON: pydantic's messages speak of Python, and change."""

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import cache
from types import UnionType
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic_core.core_schema import ErrorType

from tallyframe.operations.fields import NO_NUL, NOT_TEXT, Fields

#: The content types of JSON (RFC 6839, section 3.1), with parameters. A body without a type is taken for JSON.
JSON_TYPE = re.compile(r"\s*(application/([\w.+-]+\+)?json\s*(;.*)?)?", re.IGNORECASE | re.ASCII)

NOT_JSON = "This is not JSON"
OBJECT = "This must be a JSON object"
OTHER = "is not accepted here"

_STRING, _ARRAY, _NUMBER, _WHOLE = "must be a string", "must be an array", "must be a number", "must be a whole number"
_UUID = "must be a UUID, such as 0199b5f2-6f4e-7cc1-9d2b-3c8f6d1a2b4e"
_TIME = "must be a time with its zone, such as 2026-01-31T12:00:00Z"
_DATE, _CLOCK = "must be a date, such as 2026-01-31", "must be a time of day, such as 12:00:00"
_URL = "must be an address, such as https://example.com/a.png"
_BOOLEAN, _SPAN = "must be true or false", "must be a length of time, such as 90 seconds or PT90S"

#: By the type of pydantic's error, or the pattern that was not met; the braces are values of its `ctx`.
_WORDS: Mapping[str, str] = {
    NO_NUL: NOT_TEXT,
    **dict.fromkeys(("json_invalid", "json_type"), NOT_JSON),
    **dict.fromkeys(("missing", "missing_argument", "missing_keyword_only_argument"), "is missing"),
    **dict.fromkeys(("extra_forbidden", "unexpected_keyword_argument"), "is not a field of this call"),
    **dict.fromkeys(("model_type", "model_attributes_type", "dataclass_type", "dict_type", "mapping_type"), OBJECT),
    **dict.fromkeys(("frozen_dict_type", "ordered_dict_type", "counter_type", "arguments_type"), OBJECT),
    **dict.fromkeys(("list_type", "tuple_type", "set_type", "frozen_set_type", "deque_type", "iterable_type"), _ARRAY),
    **dict.fromkeys(("string_type", "bytes_type"), _STRING),
    **dict.fromkeys(("string_unicode", "bytes_invalid_encoding"), NOT_TEXT),
    "invalid_key": "must have a string as its name",
    "string_too_short": "must have {min_length} or more characters",
    "string_too_long": "must have at most {max_length} characters",
    "bytes_too_short": "must have {min_length} or more bytes",
    "bytes_too_long": "must have at most {max_length} bytes",
    "string_pattern_mismatch": "must match the pattern {pattern}",
    "string_not_ascii": "must have ASCII characters only",
    "too_short": "must have {min_length} or more items",
    "too_long": "must have at most {max_length} items",
    "set_item_not_hashable": "must be neither an array nor an object",
    **dict.fromkeys(("int_type", "int_parsing", "int_from_float"), _WHOLE),
    "int_parsing_size": "must be a smaller whole number",
    **dict.fromkeys(("float_type", "float_parsing", "decimal_type", "decimal_parsing"), _NUMBER),
    **dict.fromkeys(("fraction_type", "fraction_parsing", "complex_type", "complex_str_parsing"), _NUMBER),
    "decimal_max_digits": "must have at most {max_digits} digits",
    "decimal_max_places": "must have at most {decimal_places} digits after the point",
    "decimal_whole_digits": "must have at most {whole_digits} digits before the point",
    "finite_number": "must be a finite number",
    "greater_than": "must be more than {gt}",
    "greater_than_equal": "must be {ge} or more",
    "less_than": "must be less than {lt}",
    "less_than_equal": "must be at most {le}",
    "multiple_of": "must be a multiple of {multiple_of}",
    **dict.fromkeys(("bool_type", "bool_parsing"), _BOOLEAN),
    "none_required": "must be null",
    **dict.fromkeys(("enum", "literal_error"), "must be {expected}"),
    **dict.fromkeys(("uuid_type", "uuid_parsing"), _UUID),
    "uuid_version": "must be a UUID of version {expected_version}",
    **dict.fromkeys(("datetime_type", "datetime_parsing", "datetime_object_invalid", "timezone_aware"), _TIME),
    **dict.fromkeys(("datetime_from_date_parsing", "timezone_offset"), _TIME),
    "timezone_naive": "must be a time without a zone",
    **dict.fromkeys(("date_type", "date_parsing", "date_from_datetime_parsing", "date_from_datetime_inexact"), _DATE),
    **dict.fromkeys(("date_past", "datetime_past"), "must be in the past"),
    **dict.fromkeys(("date_future", "datetime_future"), "must be in the future"),
    **dict.fromkeys(("time_type", "time_parsing"), _CLOCK),
    **dict.fromkeys(("time_delta_type", "time_delta_parsing"), _SPAN),
    **dict.fromkeys(("url_type", "url_parsing", "url_syntax_violation"), _URL),
    "url_too_long": "must have at most {max_length} characters",
    "url_scheme": "must be an address that begins with {expected_schemes}",
    **dict.fromkeys(("union_tag_invalid", "union_tag_not_found"), "must say of which kind it is"),
    **dict.fromkeys(("recursion_loop", "recursion_depth_exceeded"), "is nested too deep"),
    "frozen_field": "can't be changed",
}

#: The types of pydantic's own errors. Those that are not above are about Python, and no request leads to them.
_PYDANTICS = frozenset(get_args(ErrorType))


def said(error: Mapping[str, Any]) -> str:
    """Return what to say of one of pydantic's errors (`ValidationError.errors()`); the place is not part of it.

    What a validator says (a ValueError, an AssertionError, an error of its own type) stays: those words are ours.
    """
    about = error.get("ctx", {})
    if error["type"] in {"value_error", "assertion_error"}:
        return str(about.get("error") or OTHER)
    if error["type"] == "missing" and tuple(error["loc"]) == ("body",):
        return "This call needs a body: a JSON object"
    if error["type"] not in _PYDANTICS:
        return str(error["msg"])
    words = _WORDS.get(about.get("pattern", ""), _WORDS.get(error["type"], OTHER))
    values = {name: each.isoformat() if isinstance(each, datetime) else each for name, each in about.items()}
    return re.sub(r"\b1 (item|character|byte|digit)s", r"1 \1", words.format_map(values))


def pointer(error: Mapping[str, Any]) -> str:
    """Return the place of one of pydantic's errors as a JSON pointer (RFC 6901); empty for the body as a whole.

    "body", "query" or the like in front is no part of it, nor is the member of a union that pydantic has tried.
    """
    if error["type"] == "json_invalid":  # its place is a number of characters
        return ""
    parts: Sequence[str | int] = error["loc"]
    inside = parts[1:] if parts and parts[0] in {"body", "query", "path", "header"} else parts
    return "".join(f"/{escaped(part)}" for part in inside if part != "[key]" and part not in _members())


def escaped(part: str | int) -> str:
    """Return a name or a number as a part of a JSON pointer (RFC 6901, section 3)."""
    return str(part).replace("~", "~0").replace("/", "~1")


#: What the framework says of forms and bodies, and what we say.
_UNREADABLE = (
    (r"Too many (files|fields)\D*(\d+)\.", r"The form may have at most \2 \1."),
    (
        r"(?:Part|Field) exceeded maximum size of (\d+)KB\.",
        r"A field of the form may have at most \1 KiB; a file needs a filename.",
    ),
    (r"The Content-Disposition.*", "Each part of the form needs a Content-Disposition with a name."),
    (r"Missing boundary.*", "The Content-Type of the form names no boundary."),
    (r"Invalid multipart.*", "The form is not multipart/form-data as RFC 7578 has it."),
    (r"\b1 (file|field)s\.", r"1 \1."),
    (r"There was an error parsing.*", f"{NOT_JSON} in UTF-8."),
)


def unreadable(detail: str) -> str:
    """Return our words for what the framework says of a body that it can't read; what is ours already stays."""
    for theirs, ours in _UNREADABLE:
        detail = re.sub(theirs, ours, detail)
    return detail


@cache
def _members() -> frozenset[str]:
    """Return the names of the models that are members of a union: pydantic puts them into places."""
    return frozenset(name for model in _below(Fields) for field in model.model_fields.values() for name in _in(field))


def _below(model: type[BaseModel]) -> Iterator[type[BaseModel]]:
    for child in model.__subclasses__():
        yield child
        yield from _below(child)


def _in(annotation: Any) -> Iterator[str]:  # noqa: ANN401  # a field or any annotation
    kind = getattr(annotation, "annotation", annotation)
    bare = [get_args(each)[0] if get_origin(each) is Annotated else each for each in get_args(kind)]
    models = [each for each in bare if isinstance(each, type) and issubclass(each, BaseModel)]
    if get_origin(kind) in {Union, UnionType} and len(models) > 1:
        yield from (model.__name__ for model in models)
    for each in get_args(kind):
        yield from _in(each)
