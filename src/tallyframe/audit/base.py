"""What an invariant is, what it looks at and what it finds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import Any, ClassVar, Protocol

from tallyframe.db import Reader
from tallyframe.storages.base import Storages

#: Violations that are kept as examples, of those that a query finds.
MOST = 20


@dataclass(frozen=True, slots=True)
class Example:
    """One violation: the id of what is wrong, and what is wrong with it."""

    subject: str
    detail: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check has found: how many things it has looked at, how many are wrong, and the first of these."""

    checked: int
    violations: int
    examples: Sequence[Example] = ()


@dataclass(frozen=True, slots=True)
class Limits:
    """How much is looked at, and how often. `interval` and `patience` are seconds."""

    interval: float  # between two checks of the same invariant
    files: int  # that are looked for in one round
    lease_seconds: float  # that a worker takes
    removes_uploads: bool  # files of uploads without a row
    patience: float = 60.0  # between two looks at what may be just under way: several sweeps


class Watch:
    """Measures what a check costs, in seconds; it stands still while the check only lets time pass."""

    def __init__(self) -> None:
        self._started = monotonic()
        self._stood_still = 0.0

    @contextmanager
    def standing_still(self) -> Iterator[None]:
        """Don't count the block."""
        since = monotonic()
        try:
            yield
        finally:
            self._stood_still += monotonic() - since

    def seconds(self) -> float:
        """Return what was counted so far."""
        return monotonic() - self._started - self._stood_still


@dataclass(frozen=True, slots=True)
class View:
    """What a check may look at. `last` is what the same invariant's latest check has found."""

    reader: Reader
    storages: Storages
    limits: Limits
    last: Finding | None = None
    watch: Watch = field(default_factory=Watch)


class Invariant(Protocol):
    """Something that must always be true.

    `is_counted`: what is found is no violation, but operators want to know how much of it there is. `every`: seconds
    between two checks, where that is more than the interval.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]  # one sentence, for operators
    is_counted: ClassVar[bool] = False
    every: ClassVar[float] = 0.0

    async def check(self, view: View) -> Finding:
        """Look. Raises Unavailable and StorageError when it can't be seen whether the invariant holds."""
        ...


def as_json(examples: Sequence[Example]) -> list[dict[str, Any]]:
    """Return the examples as they are kept."""
    return [{"subject": example.subject, "detail": example.detail} for example in examples]
