"""How deep JSON values of others may be nested."""

from typing import Any

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
