"""Random spread for waits, so that many who wait for the same thing don't all come back at the same moment."""

import random


def jittered(seconds: float, least: float, most: float) -> float:
    """Return the wait times a random factor from `least` to `most`: `jittered(60, 1.0, 1.25)` is 60 to 75 seconds."""
    return seconds * random.uniform(least, most)  # noqa: S311  # spread, no secret
