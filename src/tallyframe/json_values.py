"""JSON values that we can keep: how deep they may be nested, and models that are the same when they are read back."""

import json
from typing import Any, TypeVar

from pydantic import BaseModel

M = TypeVar("M", bound=BaseModel)

#: Lists and objects in each other, at most. Deeper ones exhaust the stack of whoever walks, checks or writes them.
MOST_LEVELS = 50


def is_too_deep(value: object) -> bool:
    """Tell whether lists and objects are nested in more than MOST_LEVELS levels, without descending any deeper."""
    level: list[Any] = [value]
    for _ in range(MOST_LEVELS + 1):
        level = [each for each in level if isinstance(each, list | dict)]
        if not level:
            return False
        level = [item for each in level for item in (each.values() if isinstance(each, dict) else each)]
    return True


def dump(made: BaseModel, *, by_alias: bool) -> dict[str, Any]:
    """Return an instance as JSON values, of which `load` makes the same. Raises ValueError where there are none.

    So it is known before anything depends on it. What is lost on the way: fields with `exclude`, secrets, an alias for
    writing that isn't the one for reading, numbers that JSON hasn't (NaN).
    """
    values = made.model_dump(mode="json", by_alias=by_alias, round_trip=True)
    json.dumps(values, allow_nan=False)
    if load(type(made), values) != made:
        raise ValueError("another value comes back")
    return values


def load(model: type[M], values: object) -> M:
    """Return the instance that `dump` has written, by its fields' names or aliases. Raises ValidationError.

    They are read as JSON, as which even a strict model takes a list for a tuple and a text for a date.
    """
    return model.model_validate_json(json.dumps(values), strict=False, by_alias=True, by_name=True)
