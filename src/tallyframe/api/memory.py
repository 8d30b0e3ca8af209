"""What a process has looked up and remembers for a few seconds, so that polling costs no look-up."""

from typing import TypeVar

from cachetools import TTLCache

Value = TypeVar("Value")

#: Seconds for which nothing is remembered of what has just been forgotten: longer than a look-up can take.
LOOK_UP = 60.0


class Memory(TTLCache[object, Value]):
    """Values by their keys: `most` of them at most, each for `seconds`."""

    def __init__(self, most: int, seconds: float) -> None:
        super().__init__(most, ttl=seconds)
        self._changed: TTLCache[object, bool] = TTLCache(most, ttl=LOOK_UP)

    def remember(self, key: object, value: Value) -> None:
        """Keep what a look-up has found, unless it may have begun before the last `forget`."""
        if key not in self._changed:
            self[key] = value

    def forget(self, key: object) -> None:
        """Look it up again from now on: it was changed or removed."""
        self._changed[key] = True
        self.pop(key, None)
