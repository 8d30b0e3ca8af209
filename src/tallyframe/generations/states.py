"""The states of a generation and the allowed moves, pure.

                    ┌── snooze / retry ──┐
                    ▼                    │
    pending ──► processing ──────────────┘
       │            ├──► succeeded    the result is stored
       ├────────────┼──► failed       the credits are back
       └────────────┴──► canceled     the credits are back

A snoozed generation stays `processing`, without a lease: it costs a row, not a worker. The final states are final.
"""

from enum import StrEnum


class Status(StrEnum):
    """Where a generation is."""

    PENDING = "pending"
    PROCESSING = "processing"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELED = "canceled"


LIVE = (Status.PENDING, Status.PROCESSING)
FINAL = (Status.SUCCEEDED, Status.FAILED, Status.CANCELED)

MOVES: dict[Status, frozenset[Status]] = {
    Status.PENDING: frozenset({Status.PROCESSING, Status.FAILED, Status.CANCELED}),
    Status.PROCESSING: frozenset({Status.PROCESSING, Status.SUCCEEDED, Status.FAILED, Status.CANCELED}),
    Status.SUCCEEDED: frozenset(),
    Status.FAILED: frozenset(),
    Status.CANCELED: frozenset(),
}


def sources(target: Status) -> tuple[Status, ...]:
    """Return the states from which a generation may move to `target`; what every conditional UPDATE asks for."""
    return tuple(status for status, targets in MOVES.items() if target in targets)
