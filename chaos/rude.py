"""What a stranger without a key does to an API process. Each function draws an act; none of it may be served."""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import repeat

from chaos.wires import Act

KIB, MIB = 1024, 1024 * 1024
BOUNDARY = "a-boundary"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
JSON = "application/json"
WEBHOOK = "/v1/webhooks/clerk"  # its bodies are read before anybody knows who sends them
PATHS = ("/v1/projects", "/v1/generations", "/v1/assets", "/v1/api-keys", "/v1/admin/webhooks/1/replay")
_GARBAGE = (
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(200),  # TLS
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"SSH-2.0-OpenSSH_9.6\r\n",
    b"GET\r\n\r\n",
    b"GET / HTTP/9.9\r\n\r\n",
    b"\x00" * 300 + b"\r\n\r\n",
)
_FLOOD = 16 * MIB  # bytes that are sent although there was an answer


@dataclass(frozen=True, slots=True)
class Limits:
    """What the API processes of a run are set to: seconds for a head, and for a client that doesn't read."""

    header: float
    stalled: float
    body: float = 10.0  # over which the speed of a body is measured
    slack: float = 20.0  # a process may be frozen meanwhile, and the machine be busy


@dataclass(frozen=True, slots=True)
class Draw:
    """What an act is drawn from. `key` is a key that may be used: an unknown one, or the member's."""

    lot: random.Random
    key: str
    limits: Limits

    def head(self, path: str, *headers: str, method: str = "POST") -> bytes:
        """Return the head of a request with the key."""
        lines = [f"{method} {path} HTTP/1.1", "Host: x", f"Authorization: Bearer {self.key}", *headers]
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def patience(self, *seconds: float) -> float:
        """Return how long an act may take that is over after so many seconds."""
        return sum(seconds) + self.limits.slack


def silent(draw: Draw) -> Act:
    """Say nothing."""
    return Act("silent", (), patience=draw.patience(draw.limits.header))


def half_head(draw: Draw) -> Act:
    """Send a part of a head."""
    head = draw.head("/v1/projects", "Content-Type: " + JSON)
    after = draw.lot.randrange(1, len(head) - 2)
    return Act("half a head", [head[:after]], patience=draw.patience(draw.limits.header))


def slow_head(draw: Draw) -> Act:
    """Send a head that never ends, a few bytes at a time."""
    drops = (b"GET /healthz HTTP/1.1\r\n", *repeat(b"A: b\r\n", 600))
    return Act("slow head", drops, pause=0.5, patience=draw.patience(draw.limits.header))


def endless_headers(draw: Draw) -> Act:
    """Send headers without end, as fast as they are taken."""
    lines = repeat(b"A: b\r\n" * 1000, 2000)
    return Act("endless headers", (b"GET /healthz HTTP/1.1\r\n", *lines), patience=draw.patience())


def huge_header(draw: Draw) -> Act:
    """Send one header, its name, or a path, that is far too long."""
    start = draw.lot.choice((b"GET /healthz HTTP/1.1\r\nA: ", b"GET /healthz HTTP/1.1\r\n", b"GET /"))
    return Act("huge header", (start, *repeat(b"a" * 64 * KIB, 200)), patience=draw.patience())


_TO_FILL_BUFFERS = 60.0  # seconds


def sends_ahead(draw: Draw) -> Act:
    """Send requests ahead, and read no answer."""
    asked = draw.lot.choice((draw.head("/v1/projects", method="GET"), b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"))
    # First the system's buffers fill with answers, one request after the other: on a busy machine, that takes long.
    patience = draw.patience(draw.limits.header, draw.limits.stalled, draw.limits.stalled, _TO_FILL_BUFFERS)
    return Act("sends ahead, reads nothing", repeat(asked * 50, 20_000), is_deaf=True, patience=patience)


def unknown_key(draw: Draw) -> Act:
    """Order with a key that nobody has, or with none that could be one."""
    body = b'{"kind": "image", "prompt": "A red cup"}'
    head = draw.head(draw.lot.choice(PATHS), f"Content-Type: {JSON}", f"Content-Length: {len(body)}")
    return Act("unknown key", [head + body], patience=draw.patience())


def huge_body(draw: Draw) -> Act:
    """Announce a body of gigabytes, or none of its length, and send it until somebody says stop."""
    length = draw.lot.choice(("Content-Length: 10000000000", "Transfer-Encoding: chunked"))
    head = draw.head(draw.lot.choice((*PATHS, WEBHOOK)), f"Content-Type: {draw.lot.choice((FORM, JSON))}", length)
    return Act("huge body", (head, *_parts(length, 4000)), patience=draw.patience())


def flood(draw: Draw) -> Act:
    """Send the rest of a huge body although it has been refused, as fast as the process takes it."""
    length = draw.lot.choice(("Content-Length: 10000000000", "Transfer-Encoding: chunked"))
    head = draw.head(draw.lot.choice((*PATHS, WEBHOOK)), f"Content-Type: {FORM}", length)
    parts = _parts(length, _FLOOD // (64 * KIB))
    return Act("flood after an answer", (head, *parts), goes_on=True, patience=draw.patience())


def _parts(length: str, number: int) -> Iterator[bytes]:
    part = b"a" * 64 * KIB
    return repeat(b"10000\r\n" + part + b"\r\n" if length.startswith("Transfer") else part, number)


def slow_body(draw: Draw) -> Act:
    """Send a body a byte at a time, to where it is read before anybody knows who sends it, or elsewhere."""
    head = draw.head(draw.lot.choice((*PATHS, WEBHOOK, WEBHOOK)), f"Content-Type: {JSON}", "Content-Length: 60000")
    patience = draw.patience(draw.limits.body, draw.limits.body)
    return Act("slow body", (head, *repeat(b" ", 300)), pause=0.5, patience=patience)


def short_body(draw: Draw) -> Act:
    """Stop just short of the end of a body, and wait, or hang up."""
    size = draw.lot.choice((200, 60_000, 200_000))
    body = b"{" + b" " * (size - 1 - draw.lot.randrange(1, 4))
    head = draw.head(WEBHOOK, f"Content-Type: {JSON}", f"Content-Length: {size}")
    leaves = draw.lot.random() < 0.5  # noqa: PLR2004  # half of them
    return Act("short body", [head, body], leaves=leaves, patience=draw.patience(draw.limits.body, draw.limits.body))


def no_http(draw: Draw) -> Act:
    """Speak something else than HTTP, or break its framing."""
    broken = (
        draw.head(WEBHOOK, "Transfer-Encoding: chunked") + b"xyz\r\n",
        draw.head(WEBHOOK, "Content-Length: -5"),
        draw.head(WEBHOOK, "Content-Length: 5", "Content-Length: 6") + b"12345",
        draw.head(WEBHOOK, "Transfer-Encoding: chunked", "Content-Length: 5") + b"0\r\n\r\n",
    )
    patience = draw.patience(draw.limits.header, draw.limits.body)
    return Act("no HTTP", [draw.lot.choice((*_GARBAGE, *broken))], patience=patience)


#: How often each comes. Most connections are those that only take up room.
RUDE: dict[Callable[[Draw], Act], int] = {
    silent: 6,
    half_head: 6,
    slow_head: 4,
    endless_headers: 1,
    huge_header: 1,
    sends_ahead: 1,  # each costs the process a hundred answers
    unknown_key: 2,
    huge_body: 2,
    flood: 1,
    slow_body: 5,
    short_body: 4,
    no_http: 2,
}
