"""Tickets that carry all that any process needs to go on after a restart."""

import base64
import json
import math

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Ticket

MIN_POLL_SECONDS = 0.1
MAX_POLL_SECONDS = 5.0


def issue(key: str, ready_at_ms: int) -> str:
    """Write a ticket's value for the try `key`, whose result is ready at this time (epoch milliseconds)."""
    value = json.dumps({"key": key, "ready": ready_at_ms}, separators=(",", ":"))
    return base64.urlsafe_b64encode(value.encode()).decode()


def ready_at_ms(value: str) -> int:
    """Read from a ticket's value when its result is ready (epoch milliseconds).

    Raises ProviderError (internal) for a value that `issue` has not written.
    """
    try:
        fields = json.loads(base64.b64decode(value, altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        fields = None
    match fields:
        case {"key": str(), "ready": int(ready)} if not isinstance(ready, bool):
            return ready
        case _:
            raise ProviderError(FailureCode.INTERNAL, operator_message="This is no ticket of the offline provider.")


def waiting(value: str, now_ms: float) -> Ticket | None:
    """Give the ticket to ask again with if its result is not ready at `now_ms` (epoch milliseconds), else None."""
    left = ready_at_ms(value) - now_ms
    return Ticket(value, poll_after(left / 1000)) if left > 0 else None


def poll_after(seconds_left: float) -> float:
    """Say after how many seconds to ask again: the time left, rounded up to a millisecond, within limits."""
    return min(max(math.ceil(seconds_left * 1000) / 1000, MIN_POLL_SECONDS), MAX_POLL_SECONDS)
