"""What an invariant is, what it looks at and what it finds."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import monotonic
from typing import ClassVar, Protocol

from tallyframe.db import Reader
from tallyframe.storages.base import Storages

#: Violations of one invariant that are kept as examples, at most.
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
    """How much is looked at, and how often."""

    interval: float  # seconds between two checks of the same invariant
    files: int  # looked for in one round
    lease_seconds: float  # of a worker's lease
    removes_uploads: bool  # whether files of uploads without a row are removed
    patience: float = 60.0  # seconds between two looks at what a sweep may be putting right: several sweeps


class Watch:
    """Measures the seconds that a check takes, without those in which it only waits."""

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
    """What a check works with. `last` is what the same invariant's latest check has found."""

    reader: Reader
    storages: Storages
    limits: Limits
    last: Finding | None = None
    watch: Watch = field(default_factory=Watch)


class Invariant(Protocol):
    """Something that must always be true.

    `is_counted`: what is found is no violation, but operators want to know how much of it there is. `every`: seconds
    between two checks, if that is more than the interval.
    """

    name: ClassVar[str]
    meaning: ClassVar[str]  # one sentence, for operators
    is_counted: ClassVar[bool] = False
    every: ClassVar[float] = 0.0

    async def check(self, view: View) -> Finding:
        """Look. Raises Unavailable or StorageError when nobody can tell whether the invariant holds."""
        ...
