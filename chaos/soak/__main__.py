"""Runs a soak: `python -m chaos.soak [--generations 20000] [--restart 20]`. Exit code 1 if a check does not hold."""

import argparse
import asyncio
import shutil
import sys
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic

import asyncpg
from rich.console import Console
from rich.table import Table

from chaos.alarms import alarms
from chaos.soak.orders import CREDITS, PRICES, Market, open_market
from chaos.soak.rig import Rig, rig
from chaos.soak.verdict import CHECKS, Ended, Found
from chaos.soak.watch import Lap, Watch
from tallyframe.logs import configure_logs

_WIDTH = 110  # characters
_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Length:
    """How much and how often. `restart` and `grace` are seconds."""

    generations: int
    laps: int
    workers: int
    restart: float
    grace: float
    buyers: int
    seed: int


async def run(length: Length, folder: Path) -> bool:
    """Run the soak with all files in `folder`; print the verdict, and return whether all checks hold."""
    configure_logs("console", "warning", "chaos.soak")
    async with rig(folder, workers=length.workers, grace=length.grace) as running:
        market, watch = await open_market(running, length.buyers, length.seed), Watch(running)
        beside = [asyncio.create_task(running.restart_workers(length.restart)), asyncio.create_task(watch.look())]
        try:
            laps = [await _lap(market, watch, length.generations // length.laps) for _ in range(length.laps)]
        finally:
            for task in beside:
                task.cancel()
            ends = await asyncio.gather(*beside, return_exceptions=True)
        for end in ends:
            if isinstance(end, Exception):
                raise end
        found = await _gather(running, market, laps)
    return _report(found)


async def _lap(market: Market, watch: Watch, count: int) -> Lap:
    began = monotonic()
    await market.order(count)
    lap = await watch.end_lap(count, began)
    print(f"{count} generations in {lap.seconds:.0f} s; {len(market.rig.exits())} restarts so far", flush=True)
    return lap


async def _gather(running: Rig, market: Market, laps: list[Lap]) -> Found:
    connection = await asyncpg.connect(running.servers.database_url)
    try:
        rows = await connection.fetch("SELECT id, user_id, operation, status, error_code FROM generations")
        balances = dict(await connection.fetch("SELECT id::text, balance FROM accounts"))
    finally:
        await connection.close()
    paid = Counter[str]()
    for row in rows:
        paid[str(row["user_id"])] += PRICES[row["operation"]] if row["status"] == "succeeded" else 0
    return Found(
        expected=market.expected,
        canceled=market.canceled,
        ended={str(row["id"]): Ended(row["status"], row["error_code"] or "", row["operation"]) for row in rows},
        balances={one.account_id: (balances[one.account_id], CREDITS - paid[one.user_id]) for one in market.buyers},
        verify=await running.run("ledger", "verify"),
        exits=running.exits(),
        bad_exits=[
            f"{child.name}: {words}"
            for child in running.children.values()
            for words in (*child.problems, *child.deaths)
        ],
        alarms=[str(alarm) for alarm in alarms({name: child.log for name, child in running.children.items()})],
        grace=running.grace,
        laps=laps,
    )


def _report(found: Found) -> bool:
    """Print the tables; return whether all checks hold."""
    console = Console(width=_WIDTH, highlight=False)
    console.print(_laps(found))
    ends = Counter(f"{one.operation} {one.status} {one.code}".strip() for one in found.ended.values())
    print("; ".join(f"{times} {words}" for words, times in ends.most_common()) + ".")
    longest = max(found.exits, default=0.0)
    print(f"Workers were asked to end {len(found.exits)} times; the longest took {longest:.1f} s.")
    holds = True
    for name, check in CHECKS.items():
        lines = list(check(found))
        problems = [line for line in lines if line]
        holds &= not problems
        print(f"{'VIOLATED' if problems else 'holds':<9}{name} ({len(lines)} comparisons)")
        for problem in problems[:_EXAMPLES]:
            print(f"           {problem}")
    return holds


def _laps(found: Found) -> Table:
    table = Table(title="After each lap; of memory and descriptors, the most in the lap")
    names = list(found.laps[0].memory)
    for column in (
        "generations",
        "per second",
        *(f"{name} MB, fds" for name in names),
        "Redis keys",
        "connections",
        "files",
    ):
        table.add_column(column, justify="right")
    for lap in found.laps:
        processes = [f"{lap.memory[name] / 10**6:.0f}, {lap.descriptors[name]}" for name in names]
        figures = [str(lap.redis_keys), str(lap.connections), str(lap.files)]
        table.add_row(f"{lap.generations:,}", f"{lap.generations / lap.seconds:.0f}", *processes, *figures)
    return table


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(
        prog="python -m chaos.soak", description="Orders much while workers are restarted, then looks at what has grown"
    )
    parser.add_argument("--generations", type=int, default=20_000, help="in all (default 20000)")
    parser.add_argument("--laps", type=int, default=4, help="what is left is compared between them (default 4)")
    parser.add_argument("--workers", type=int, default=2, help="worker processes (default 2)")
    parser.add_argument(
        "--restart", type=float, default=20, help="seconds between two SIGTERMs of a worker (default 20)"
    )
    parser.add_argument("--grace", type=float, default=30, help="seconds that a worker may take to end (default 30)")
    parser.add_argument("--buyers", type=int, default=20, help="users who order side by side (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="draws cards and cancels (default 1)")
    parser.add_argument("--keep", type=Path, help="keep all files in this folder, also when all checks hold")
    options = vars(parser.parse_args())
    keep = options.pop("keep")
    folder = keep or Path(tempfile.mkdtemp(prefix="tallyframe-soak-"))
    folder.mkdir(parents=True, exist_ok=True)
    holds = False
    with suppress(KeyboardInterrupt):
        holds = asyncio.run(run(Length(**options), folder.resolve()))
    if not holds:
        sys.exit(f"VIOLATED or interrupted. All logs are in {folder}")
    if not keep:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
