"""The rows as lines on the terminal and as JSON, and a description of the machine."""

import json
import os
import platform
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

from bench.rows import Row
from bench.stack import Stack

_PACKAGES = ("fastapi", "uvicorn", "uvloop", "sqlalchemy", "asyncpg", "arq")
_COLUMNS = (
    f"{'what':<18} {'figure':<18} {'value':>9} {'unit':<8} {'spread':>6}  "
    f"{'against':<26} {'peer':>9} {'ratio':>7}  target"
)
_WHOLE = 100  # from here on, digits after the point say nothing


def machine(stack: Stack) -> dict[str, str]:
    """Return machine and versions, and how busy the machine was before."""
    postgres = (stack.servers.postgres.data / "PG_VERSION").read_text().strip()
    return {
        "processor": f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores",
        "load before": f"{os.getloadavg()[0]:.1f}",
        "Python": platform.python_version(),
        "PostgreSQL": f"{postgres}, fsync on",
        **{name: version(name) for name in _PACKAGES},
    }


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def heading(about: Mapping[str, str]) -> str:
    """Return the lines above the table."""
    return f"{', '.join(f'{name} {value}' for name, value in about.items())}\n{_COLUMNS}"


def show(row: Row) -> str:
    """Return the line of the table for a row."""
    peer = f"{figure(row.peer_value):>9}" if row.peer_value is not None else " " * 9
    ratio = f"{row.ratio:7.3f}" if row.ratio is not None else " " * 7
    met = {True: "met", False: "MISSED", None: ""}[row.met]
    line = f"{row.name:<18} {row.figure:<18} {figure(row.value):>9} {row.unit:<8} {row.spread:>6.0%}"
    return f"{line}  {row.against or '':<26} {peer} {ratio}  {row.target or '':<14} {met}".rstrip()


def figure(value: float) -> str:
    """Return a number with three digits that count."""
    return f"{value:,.0f}" if abs(value) >= _WHOLE else f"{value:.3g}"


def as_json(about: Mapping[str, str], rows: Sequence[Row], **how: Any) -> str:  # noqa: ANN401  # JSON values
    """Return all as JSON, with how it was measured."""
    return json.dumps({"machine": about, "how": how, "rows": [row.as_json() for row in rows]}, indent=1) + "\n"
