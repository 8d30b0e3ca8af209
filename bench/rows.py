"""The rows of the result: a figure of ours, what it is compared with, and the target that it has to meet."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from statistics import median
from typing import Any, Literal


@dataclass(frozen=True)
class Target:
    """A bound on the `ratio` or the `value` of a row."""

    on: Literal["ratio", "value"]
    at_least: float | None = None
    at_most: float | None = None

    def is_met(self, found: float) -> bool:
        """Whether the figure is within the bound."""
        above = self.at_least is None or found >= self.at_least
        return above and (self.at_most is None or found <= self.at_most)

    def __str__(self) -> str:
        bound = f"≥ {self.at_least:g}" if self.at_least is not None else f"≤ {self.at_most:g}"
        return f"{self.on} {bound}"


@dataclass(frozen=True)
class Against:
    """A peer and its figures, one per round; `times_faster` makes the ratio peer ÷ ours, where less is better."""

    name: str
    values: Sequence[float]
    times_faster: bool = False


@dataclass(frozen=True)
class Row:
    """A line of the result. `value`: the median of the rounds; `spread`: (largest - smallest) ÷ median."""

    name: str
    figure: str  # what is measured, such as "rate" or "p95"
    unit: str
    value: float
    spread: float
    against: str | None = None
    peer_value: float | None = None
    peer_spread: float | None = None
    ratio: float | None = None  # the median of the rounds' ratios
    target: str | None = None
    met: bool | None = None
    rounds: int = 1
    more: dict[str, float | str] = field(default_factory=dict)  # what helps to understand the figure

    def as_json(self) -> dict[str, Any]:
        """Return the row as JSON values."""
        return asdict(self)


def row(  # one argument per column
    name: str,
    figure: str,
    unit: str,
    values: Sequence[float],
    against: Against | None = None,
    *,
    target: Target | None = None,
    more: dict[str, float | str] | None = None,
) -> Row:
    """Return the row for the figures of all rounds. Of a peer, the rounds are those of the same numbers."""
    ratio = median(ratios(values, against)) if against else None
    bounded = ratio if target and target.on == "ratio" else median(values)
    return Row(
        name=name,
        figure=figure,
        unit=unit,
        value=median(values),
        spread=spread(values),
        against=against.name if against else None,
        peer_value=median(against.values) if against else None,
        peer_spread=spread(against.values) if against else None,
        ratio=ratio,
        target=str(target) if target else None,
        met=target.is_met(bounded) if target and bounded is not None else None,
        rounds=len(values),
        more=more or {},
    )


def ratios(values: Sequence[float], against: Against) -> list[float]:
    """Return each round's ratio: both sides of it were measured one right after the other."""
    pairs = zip(values, against.values, strict=True)
    divide: Callable[[float, float], float] = lambda ours, peers: ours / peers if peers else 0.0  # noqa: E731
    return [divide(peers, ours) if against.times_faster else divide(ours, peers) for ours, peers in pairs]


def spread(values: Sequence[float]) -> float:
    """Return how far the rounds lie apart, as a share of their median."""
    middle = median(values)
    return (max(values) - min(values)) / middle if middle else 0.0
