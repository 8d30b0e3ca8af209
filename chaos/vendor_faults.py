"""How the fake vendor takes each order: drawn from the seed, the order's marker and how often it has come."""

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "video", "look", "download", "cancel"]

#: A film that is taken, and never gets ready.
STUCK = "stuck"

#: How often each mood is drawn, per kind of request. `paid`: the work is done and billed, whatever is said then.
#: An image that ends with an error is not billed, as Google has it; a video may be, unless the error is 503 or 429.
_MOODS: dict[Kind, dict[str, int]] = {
    "image": {
        "good": 58,
        "slow": 8,
        "late": 4,
        "dropped": 5,
        "cut": 4,
        "garbage": 4,
        "empty": 3,
        "broken": 2,
        "500": 4,
        "503": 4,
        "429": 1,
        "hang": 3,
    },
    "video": {
        "good": 62,
        "slow": 8,
        "late": 4,
        "dropped": 5,
        "cut": 4,
        "garbage": 4,
        "500": 3,
        "500 paid": 2,
        "503": 4,
        "429": 1,
        "hang": 3,
        STUCK: 3,
    },
    "look": {"good": 82, "500": 4, "503": 3, "dropped": 4, "garbage": 3, "hang": 2, "verdict": 2},
    "download": {"good": 84, "500": 4, "dropped": 4, "cut": 6, "garbage": 2},
    "cancel": {"good": 70, "500": 8, "503": 4, "dropped": 10, "garbage": 4, "hang": 4},
}
_UNPAID = frozenset({"500", "503", "429", "hang"})


@dataclass(frozen=True, slots=True)
class Mood:
    """What is done with one request. `seconds` is how long the answer takes."""

    name: str
    seconds: float

    @property
    def is_paid(self) -> bool:
        """Say if an order that is met like this is taken and billed."""
        return self.name not in _UNPAID


CALM = Mood("good", 0.02)


def mood(kind: Kind, seed: int, marker: str, number: int, *, timeout: float) -> Mood:
    """Draw how request `number` for `marker` is met; `timeout` is the seconds after which the caller gives up."""
    lot = random.Random(f"{seed}:{kind}:{marker}:{number}")
    names = _MOODS[kind]
    name = lot.choices(list(names), list(names.values()))[0]
    spans = {"slow": (1.0, timeout * 0.7), "late": (timeout + 0.5, timeout + 3.0), "hang": (timeout + 1, timeout + 2)}
    return Mood(name, lot.uniform(*spans.get(name, (0.02, 0.4))))
