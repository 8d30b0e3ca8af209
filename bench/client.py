"""The load generator: keeps some HTTP/1.1 connections busy, with one request at a time each, and times every answer.

    python -m bench.client PLAN RESULT

Both are JSON files. It shares the cores with the server, so it does as little as possible: requests are ready-made
bytes, and it checks only the status and the length of an answer.
"""

import asyncio
import json
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from functools import partial
from itertools import count, cycle, islice
from pathlib import Path
from time import perf_counter, process_time, time
from typing import cast

import uvloop

from bench.figures import Figures, percentile
from bench.orders import KEY

_KEY = KEY.encode()
#: Keys differ from one run to the next, too.
_RUN, _numbers = int(time() * 10) % 16**6 + 16**6, count()
GRACE = 30.0  # seconds for the last answers


@dataclass(frozen=True)
class Plan:
    """What to send where. `warm_up` and `seconds` are seconds; answers during the warm-up don't count."""

    port: int
    requests: list[str]
    status: int
    connections: int
    warm_up: float
    seconds: float


@dataclass
class Tally:
    """The span in which answers count, in seconds of perf_counter, and their latencies in ms."""

    begin: float
    end: float
    latencies: list[float] = field(default_factory=list)

    def add(self, sent: float, answered: float) -> None:
        """Count an answer if it came in that span."""
        if self.begin <= answered < self.end:
            self.latencies.append((answered - sent) * 1000)


class Connection(asyncio.Protocol):
    """One connection, one request under way at a time."""

    def __init__(self, requests: Iterator[bytes], status: int, tally: Tally) -> None:
        self._requests = requests
        self._expected = b"HTTP/1.1 %d " % status
        self._tally = tally
        self._buffer = b""
        self._sent = 0.0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the first request."""
        self._transport = cast("asyncio.Transport", transport)  # uvloop's is one in all but name
        self._send()

    def data_received(self, data: bytes) -> None:
        """Collect an answer; once it is complete, count it and send the next request."""
        self._buffer += data
        if not is_whole(self._buffer):
            return
        answered, answer, self._buffer = perf_counter(), self._buffer, b""
        if not answer.startswith(self._expected):
            self._end(RuntimeError(f"expected {self._expected!r}, got {answer[:2000]!r}"))
            return
        self._tally.add(self._sent, answered)
        if answered < self._tally.end:
            self._send()
        else:
            self._end(None)

    def connection_lost(self, exc: Exception | None) -> None:
        """Fail, unless we are done."""
        self._end(exc or ConnectionError("the server has closed the connection"))

    def _send(self) -> None:
        request = next(self._requests)
        if _KEY in request:
            request = request.replace(_KEY, b"%x-%010d" % (_RUN, next(_numbers)))
        self._sent = perf_counter()
        self._transport.write(request)

    def _end(self, error: Exception | None) -> None:
        if self.done.done():
            return
        if error:
            self.done.set_exception(error)
        else:
            self.done.set_result(None)
        self._transport.close()


def is_whole(answer: bytes) -> bool:
    """Tell whether head and body have arrived; the head must give the body's length."""
    head, separator, body = answer.partition(b"\r\n\r\n")
    _, announced, rest = head.lower().partition(b"\r\ncontent-length:")
    length = int(rest.partition(b"\r\n")[0]) if announced else 0
    return bool(separator) and len(body) >= length


async def generate(plan: Plan) -> Figures:
    """Send the load and return the figures. Raises RuntimeError on an answer with another status."""
    begin = perf_counter() + plan.warm_up
    tally = Tally(begin, begin + plan.seconds)
    requests = [request.encode("latin-1") for request in plan.requests]
    used = process_time()
    loop, connections = asyncio.get_running_loop(), []
    for number in range(plan.connections):
        # Each goes round all requests forever, from another start, so that the users are spread.
        turns = islice(cycle(requests), number * len(requests) // plan.connections, None)
        make = partial(Connection, turns, plan.status, tally)
        connections.append((await loop.create_connection(make, "127.0.0.1", plan.port))[1])
    async with asyncio.timeout(plan.warm_up + plan.seconds + GRACE):
        await asyncio.gather(*(connection.done for connection in connections))
    used, counted = process_time() - used, len(tally.latencies)
    share = plan.seconds / (plan.warm_up + plan.seconds)
    return Figures(
        counted / plan.seconds,
        percentile(tally.latencies, 50),
        percentile(tally.latencies, 95),
        percentile(tally.latencies, 99),
        client_cpu=used * share * 1000 / max(counted, 1),
    )


def main(plan_file: str, result_file: str) -> None:
    """Read the plan, send the load, write the result."""
    plan = Plan(**json.loads(Path(plan_file).read_text()))
    Path(result_file).write_text(json.dumps(asdict(uvloop.run(generate(plan)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
