"""HTTP load from a process of its own."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, replace

from bench.client import Plan
from bench.figures import Figures
from bench.stack import Child, Stack

CONNECTIONS = 16


async def load(  # as a sentence
    stack: Stack,
    target: Child,
    requests: Sequence[str],
    status: int,
    seconds: float,
    *,
    warm_up: float,
    connections: int = CONNECTIONS,
) -> Figures:
    """Send the requests in turn for `seconds` and return the figures. Raises RuntimeError on another status."""
    plan = Plan(target.port, list(requests), status, connections, warm_up, seconds)
    plan_file, result_file = stack.file("plan.json"), stack.file("result.json")
    plan_file.write_text(json.dumps(asdict(plan)))
    before = target.cpu
    await stack.run([sys.executable, "-m", "bench.client", str(plan_file), str(result_file)], {})
    used = target.cpu - before
    found = Figures(**json.loads(result_file.read_text()))
    # The CPU time includes the warm-up, so we add its answers, too; they come at about the same rate.
    answers = max(found.per_second * (seconds + warm_up), 1)
    return replace(found, server_cpu=used * 1000 / answers)
