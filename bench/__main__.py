"""Runs the whole benchmark: `python -m bench [--seconds 5] [--quick]`."""

import argparse
import asyncio
import signal
import sys

from bench.capture import capture
from bench.cast import cast, generations
from bench.load import Target
from bench.measure import Bench
from bench.pickup import FLOOD, pickup
from bench.report import print_machine, print_rows, print_waits
from bench.stack import stack
from tallyframe.logs import configure_logs


async def run(seconds: int, orders: int, log_level: str) -> None:
    """Measure for `seconds` each, and the pickup with so many `orders`; print each result at once."""
    if task := asyncio.current_task():  # SIGTERM unwinds us as Ctrl-C does, so that nothing is left running
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    configure_logs("console", "warning", "bench")
    async with stack(log_level) as running:
        print_machine(running)
        people = await cast(running.database_url)
        api, bare = Target(*await running.api()), Target(*await running.bare())
        captured = await capture(running, people[0])
        bench = Bench(running, api, bare, people, captured, seconds)
        accepted = await bench.accept()
        placed = await generations(running)
        print_rows([*accepted, *await bench.poll()], placed)
        alone, beside = await pickup(running, api.port, people[0], people[1], orders)
        print_waits(f"{orders} orders in turn, one idle worker, offline provider", alone)
        print_waits(f"the same beside a flood of {FLOOD} orders of another user", beside, alone)


def main() -> None:
    """Read the options and run."""
    parser = argparse.ArgumentParser(prog="python -m bench", description="Throughput and latency as ratios, in one run")
    parser.add_argument("--seconds", type=int, default=5, help="per measurement (default 5)")
    parser.add_argument("--orders", type=int, default=50, help="for the pickup latency (default 50)")
    parser.add_argument("--log-level", default="warning", help="of the API; info writes a line per request")
    parser.add_argument("--quick", action="store_true", help="does it run? one second each, five orders")
    options = parser.parse_args()
    seconds, orders = (1, 5) if options.quick else (options.seconds, options.orders)
    try:
        asyncio.run(run(seconds, orders, options.log_level))
    except (KeyboardInterrupt, asyncio.CancelledError):
        sys.exit("Interrupted; all processes have been ended.")


if __name__ == "__main__":
    main()
