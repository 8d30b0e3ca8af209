"""The figures of one measurement."""

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Figures:
    """Rate per second, latencies in ms, CPU time in ms per answer if it was measured, and pgbench's own count."""

    per_second: float
    p50: float
    p95: float
    p99: float
    server_cpu: float | None = None
    client_cpu: float | None = None
    count: int | None = None


def percentile(values: Sequence[float], percent: float) -> float:
    """Return the percentile; 0 if there are no values."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * percent / 100), len(ordered) - 1)] if ordered else 0.0
