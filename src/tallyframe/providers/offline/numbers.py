"""Numbers within the bounds that a JSON schema sets."""

from collections.abc import Mapping
from fractions import Fraction
from math import ceil, floor
from typing import Any

_WIDE = 10  # steps from one bound to the other, where only one is given


def number_for(node: Mapping[str, Any], dice: int) -> int | float:
    """Return a number for a node of the type integer or number; `dice` chooses from the middle half of its range."""
    is_whole = node["type"] == "integer"
    step = Fraction(str(node.get("multipleOf", 1 if is_whole else "0.01")))
    low, high = _bounds(node, step)
    if not is_whole and "multipleOf" not in node and high - low < _WIDE * step:
        step = (high - low) / 1000 or Fraction(1)
    first, last = ceil(low / step), floor(high / step)
    first += first * step == _exact(node, "exclusiveMinimum")
    last -= last * step == _exact(node, "exclusiveMaximum")
    if first > last:  # no step falls between the bounds; with a lower one that is allowed, as in ge=0.005, le=0.005
        return int(low) if is_whole else float(low)
    quarter = (last - first) // 4
    chosen = (first + quarter + dice % (last - first - 2 * quarter + 1)) * step
    return int(chosen) if is_whole else float(chosen)


def _bounds(node: Mapping[str, Any], step: Fraction) -> tuple[Fraction, Fraction]:
    """Return the lowest and the highest number; the one that is missing is not far from the other."""
    lows = [bound for name in ("minimum", "exclusiveMinimum") if (bound := _exact(node, name)) is not None]
    highs = [bound for name in ("maximum", "exclusiveMaximum") if (bound := _exact(node, name)) is not None]
    if lows:
        return max(lows), min(highs, default=max(lows) + _WIDE * max(step, Fraction(1)))
    high = min(highs, default=_WIDE * max(step, Fraction(1)))
    return (Fraction(0) if high > 0 else high - _WIDE * max(step, Fraction(1))), high


def _exact(node: Mapping[str, Any], name: str) -> Fraction | None:
    return Fraction(str(node[name])) if name in node else None
