"""What one measurement found."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """Rate per second, latencies in ms, and CPU time in ms per answer where it was looked at; pgbench's own count."""

    per_second: float
    p50: float
    p99: float
    server_cpu: float | None = None
    client_cpu: float | None = None
    count: int | None = None


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the value that `percent` of all values don't exceed; 0 when there is none."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else 0.0
