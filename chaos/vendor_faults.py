"""What goes wrong at the fake vendor: drawn per request from the seed, the order's marker and how often it came."""

import random
from dataclasses import dataclass
from typing import Literal

Kind = Literal["image", "text", "video", "look", "download", "cancel"]

#: A film that is accepted and never gets ready.
STUCK = "stuck"

#: How often each fault is drawn, per kind of request. With "500 paid", the work is done and billed, and the answer is
#: an error. An image or a text that ends with an error is not billed, as at Google; a video may be, unless it is 503 or
#: 429. A broken text is JSON in another form than was asked for.
_WEIGHTS: dict[Kind, dict[str, int]] = {
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
    "text": {
        "good": 60,
        "slow": 8,
        "late": 4,
        "dropped": 5,
        "cut": 4,
        "garbage": 3,
        "empty": 3,
        "broken": 3,
        "500": 4,
        "503": 3,
        "429": 1,
        "hang": 2,
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
class VendorFault:
    """How one request is answered. "good" and "slow" are no faults. `seconds` is how long the answer takes."""

    name: str
    seconds: float

    @property
    def is_paid(self) -> bool:
        """Whether an order with this fault is accepted and billed."""
        return self.name not in _UNPAID


NO_FAULT = VendorFault("good", 0.02)


def draw_fault(kind: Kind, seed: int, marker: str, number: int, *, timeout: float) -> VendorFault:
    """Draw the fault of request `number` for `marker`; `timeout` is the seconds after which the caller gives up."""
    lot = random.Random(f"{seed}:{kind}:{marker}:{number}")
    weights = _WEIGHTS[kind]
    name = lot.choices(list(weights), list(weights.values()))[0]
    spans = {"slow": (1.0, timeout * 0.7), "late": (timeout + 0.5, timeout + 3.0), "hang": (timeout + 1, timeout + 2)}
    return VendorFault(name, lot.uniform(*spans.get(name, (0.02, 0.4))))
