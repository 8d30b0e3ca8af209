"""The tables, and a description of the machine."""

import os
import platform
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench.measure import Row
from bench.pickup import Waits
from bench.stack import Stack

_WIDTH = 110  # characters, also where the output is no terminal
_PACKAGES = ("fastapi", "uvicorn", "uvloop", "sqlalchemy", "asyncpg", "arq")


def print_machine(stack: Stack) -> None:
    """Print machine and versions, and how busy the machine was before."""
    postgres = (stack.servers.postgres.data / "PG_VERSION").read_text().strip()
    load = os.getloadavg()[0]
    print(f"{_cpu_model()}, {len(os.sched_getaffinity(0))} cores, load {load:.1f} before the start")
    print(f"Python {platform.python_version()}, PostgreSQL {postgres}, fsync on", end="")
    print("".join(f", {name} {version(name)}" for name in _PACKAGES))


def _cpu_model() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def print_rows(rows: Sequence[Row], generations: int) -> None:
    """Print throughput, latencies and ratios. The database had so many `generations` during the polls."""
    table = Table(title="16 connections; server, client and Postgres share the cores; CPU in ms per answer")
    table.add_column("what", no_wrap=True)
    for name in ("per s", "p50 ms", "p99 ms", "/pgbench", "/bare", "CPU", "client's"):
        table.add_column(name, justify="right")
    for row in rows:
        found, limits = row.found, (row.pgbench, row.bare)
        rates = [f"{found.per_second:.0f}", f"{found.p50:.2f}", f"{found.p99:.2f}"]
        shares = [f"{found.per_second / limit.per_second:.3f}" if limit else "" for limit in limits]
        cpu = [f"{used:.3f}" if used else "" for used in (found.server_cpu, found.client_cpu)]
        table.add_row(row.name, *rates, *shares, *cpu)
    Console(width=_WIDTH).print(table)
    print(f"Polled with {generations} orders in the database.")


def print_waits(title: str, waits: Sequence[Waits], alone: Sequence[Waits] = ()) -> None:
    """Print how long orders waited, and the ratio to those that were `alone`."""
    table = Table(title=title)
    table.add_column("what", no_wrap=True)
    for name in ("mean ms", "p50 ms", "p95 ms", *(["mean/alone"] if alone else [])):
        table.add_column(name, justify="right")
    for number, span in enumerate(waits):
        times = []
        if alone:  # its mean is 0 if the worker was quicker than every answer
            mean = alone[number].mean
            times = [f"{span.mean / mean:.2f}" if mean else ""]
        table.add_row(span.name, f"{span.mean:.1f}", f"{span.p50:.1f}", f"{span.p95:.1f}", *times)
    Console(width=_WIDTH).print(table)
