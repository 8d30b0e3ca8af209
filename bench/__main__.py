"""Runs the benchmark: `python -m bench [--json PATH] [--only accept,poll] [--rounds 3] [--seconds 3] [--quick]`."""

import argparse
import asyncio
import signal
import sys
import traceback
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path

from bench.report import as_json, heading, machine, show
from bench.rows import Row
from bench.scenarios import LARGE_ONES, SCENARIOS, Context
from bench.stack import stack
from tallyframe.logs import configure_logs


async def run(names: Sequence[str], json_file: Path | None, *, rounds: int, seconds: float, quick: bool) -> bool:
    """Run the scenarios of these names, and return whether all could be measured.

    Each row is printed as soon as it is known, and the JSON written after each scenario. One that fails is told of; the
    others go on.
    """
    if task := asyncio.current_task():  # SIGTERM unwinds us as Ctrl-C does, so that nothing is left running
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    configure_logs("console", "warning", "bench")
    rows, failed = list[Row](), list[str]()
    async with stack() as running, AsyncExitStack() as exits:
        about = machine(running)
        print(heading(about), flush=True)
        context = Context(running, exits, rounds, seconds, quick)
        for name in names:
            try:
                async for row in SCENARIOS[name](context):
                    rows.append(row)
                    print(show(row), flush=True)
            except Exception:  # noqa: BLE001  # whatever it is, the other scenarios can do without this one
                failed.append(name)
                print(f"{name} could not be measured:\n{traceback.format_exc()}", flush=True)
            if json_file:
                json_file.write_text(as_json(about, rows, failed=failed, rounds=rounds, seconds=seconds))  # noqa: ASYNC240  # small
    missed = [row for row in rows if row.met is False]
    print(f"{len(rows)} rows; {len(missed)} targets missed; {len(failed)} scenarios failed.")
    return not failed


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Speed as ratios, in one run")
    parser.add_argument("--json", type=Path, help="where to write the rows, too")
    parser.add_argument("--only", default="", help=f"some of: {', '.join(SCENARIOS)}")
    parser.add_argument("--without", default="", help="all but these")
    parser.add_argument("--rounds", type=int, default=3, help="of subject and peers in turn (default 3)")
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement (default 3)")
    parser.add_argument("--quick", action="store_true", help="does it run? One short round; its figures mean nothing")
    options = parser.parse_args()
    only, without = ([name for name in names.split(",") if name] for names in (options.only, options.without))
    if unknown := {*only, *without} - SCENARIOS.keys():
        parser.error(f"no such scenario: {', '.join(sorted(unknown))}")
    names = [name for name in SCENARIOS if name not in without and (not only or name in only)]
    if options.quick and not only:
        names = [name for name in names if name not in LARGE_ONES]
    rounds, seconds = (1, 0.3) if options.quick else (options.rounds, options.seconds)
    try:
        is_whole = asyncio.run(run(names, options.json, rounds=rounds, seconds=seconds, quick=options.quick))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("Interrupted; all processes have been ended.")
    sys.exit(0 if is_whole else 1)


if __name__ == "__main__":
    main()
