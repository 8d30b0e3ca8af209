"""HTTP load from a process of its own."""

import json
import sys
from asyncio.subprocess import Process
from dataclasses import asdict, dataclass, replace

import psutil

from bench.client import Plan
from bench.figures import Figures
from bench.stack import Stack

CONNECTIONS = 16
WARM_UP = 0.5  # seconds


@dataclass(frozen=True)
class Target:
    """A server process and its port."""

    process: Process
    port: int


async def load(stack: Stack, target: Target, requests: list[str], status: int, seconds: float) -> Figures:
    """Send the requests in turn for `seconds` and return the figures. Raises RuntimeError on another status."""
    plan = Plan(target.port, requests, status, CONNECTIONS, WARM_UP, seconds)
    plan_file, result_file = stack.file("plan.json"), stack.file("result.json")
    plan_file.write_text(json.dumps(asdict(plan)))
    before = _cpu(target)
    await stack.run([sys.executable, "-m", "bench.client", str(plan_file), str(result_file)], {})
    used = _cpu(target) - before
    found = Figures(**json.loads(result_file.read_text()))
    # The CPU time includes the warm-up, so we add its answers, too; they come at about the same rate.
    answers = max(found.per_second * (seconds + WARM_UP), 1)
    return replace(found, server_cpu=used * 1000 / answers)


def _cpu(target: Target) -> float:
    """Return the CPU seconds that the server process has used."""
    times = psutil.Process(target.process.pid).cpu_times()
    return times.user + times.system
