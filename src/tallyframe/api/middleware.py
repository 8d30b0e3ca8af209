"""Around every request: an id, a log line, metrics, security headers, a limit on the body, and an answer to a crash.

Also what holds for the bodies of all routes: HEAD is answered as GET without a body, and JSON is UTF-8.
"""

import asyncio
import codecs
import re
from collections import Counter
from dataclasses import dataclass
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallyframe import observe
from tallyframe.api.methods import METHODS
from tallyframe.api.metrics import BYTES_IN_FLIGHT, REQUESTS, SECONDS
from tallyframe.api.problems import problem
from tallyframe.errors import Internal, TallyframeError, TooLarge, Unavailable, UnsupportedMedia
from tallyframe.ids import new_id

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
#: Below this, files are served, which for HEAD are not read at all.
_FILES = "/media/"
_UNLOGGED = ("/healthz", "/readyz", "/metrics")
_MOST_LOGGED = 300  # characters of a path
CUT_OFF = "This process had to end before your request was done. Send it again, with its Idempotency-Key if it has one."

#: Where a request's scope keeps who is asking.
USER = "tallyframe.user"

_MIB = 1024 * 1024
#: Seconds over which the speed of a body is measured.
RATE_WINDOW = 10.0
#: Where forms are read; nowhere else may a body be as large as theirs.
FORMS = ("/v1/projects", "/v1/assets")
#: Where strangers send bodies that are read before anybody knows who they are.
WEBHOOKS = "/v1/webhooks/"
MAX_WEBHOOK = 256 * 1024  # bytes; events are a few thousand
#: One part in so many of what a process takes in may be of all signed-in callers, of all strangers, or of one user. So
#: strangers can't use up what callers need, nor one user what the others do.
SHARES = {"callers": 1, "strangers": 8}
USER_SHARE = 4
#: Bytes of a body that is never refused because of the others.
SMALL = 16 * 1024

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


@dataclass(frozen=True, slots=True)
class BodyLimits:
    """What a body may be, in bytes and seconds, and how much all of a process may be together."""

    form_bytes: int
    other_bytes: int
    seconds: float
    bytes_per_second: int  # as the mean of `RATE_WINDOW`
    bytes_in_flight: int


class RequestTimeout(TallyframeError):
    """The request's body did not come in time. Send it again, over a faster connection."""

    status = 408
    code = "request_timeout"


class UriTooLong(TallyframeError):
    """The path and the query of this request are too long."""

    status = 400  # and not 414, which those who check us against the document don't expect for a long parameter
    code = "uri_too_long"


class Edge:
    """The one middleware. Plain ASGI, so that streaming and context variables work as without it."""

    def __init__(self, app: ASGIApp, *, limits: BodyLimits) -> None:
        self._app = app
        self._limits = limits
        self._in_flight = Counter[object]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes through."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        sent_id = Headers(scope=scope).get("x-request-id", "")
        request_id = scope["request_id"] = sent_id if _REQUEST_ID.fullmatch(sent_id) else str(new_id())
        started, status = perf_counter(), 0
        is_head = scope["method"] == "HEAD"
        asked = {**scope, "method": "GET"} if is_head and not scope["path"].startswith(_FILES) else scope
        body = Body(asked, receive, self._limits, self._in_flight)

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                add_headers(message, scope)
            elif is_head:
                return
            await send(message)
            if is_head:  # the end, however long the body of GET would go on (RFC 9110, 9.3.2)
                await send({"type": "http.response.body"})

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            structlog.contextvars.unbind_contextvars("user_id")  # of the request before on this connection
            try:
                await self._app(asked, _in_utf8(scope, body.receive), answer)
            except ClientDisconnect:  # in the middle of its request; there is nobody to answer
                log.info("client_gone")
            finally:
                body.close()
                status, seconds = status or 499, perf_counter() - started
                route = getattr(asked.get("route"), "path", "unmatched")
                method = scope["method"] if scope["method"] in METHODS else "other"  # few: each is kept for good
                REQUESTS.labels(method, route, str(status)).inc()
                SECONDS.labels(method, route).observe(seconds)
                if scope["path"] not in _UNLOGGED:
                    about = {"method": scope["method"], "path": scope["path"][:_MOST_LOGGED], "status": status}
                    log.info("request", **about, milliseconds=round(seconds * 1000, 1))
        return None


def add_headers(start: Message, scope: Scope) -> None:
    """Add to the start of an answer what every answer has."""
    headers = MutableHeaders(scope=start)
    headers["X-Request-Id"] = scope["request_id"]
    for name, value in SAFE_HEADERS.items():
        headers.setdefault(name, value)
    if start["status"] in {204, 304}:  # there is no content that could have a type
        del headers["Content-Type"]
    if scope["path"].startswith("/v1/"):
        headers.setdefault("Cache-Control", "no-store")


class Guard:
    """Answers an address that is too long, a bug, and what the end of the process cuts off, as a problem.

    It stands inside of what adds headers to answers, so that pages of other origins can read it.
    """

    def __init__(self, app: ASGIApp, *, most_target: int) -> None:
        """`most_target`: bytes of a path and its query. To match and to parse them costs more than the bytes tell."""
        self._app = app
        self._most_target = most_target

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request. Raises what it can't answer any more, because the answer has begun."""
        has_begun = False
        if scope["type"] == "http" and (size := _target_size(scope)) > self._most_target:
            words = f"The path and the query have {size:,} bytes together; {self._most_target:,} are accepted."
            return await problem(UriTooLong(words), scope["request_id"])(scope, receive, send)

        async def begin(message: Message) -> None:
            nonlocal has_begun
            has_begun = True
            await send(message)

        try:
            await self._app(scope, receive, begin)
        except ClientDisconnect:
            raise
        except asyncio.CancelledError:  # the process ends, and has waited for us as long as it does
            if has_begun or scope["type"] != "http":
                raise
            await problem(Unavailable(CUT_OFF, retry_after=1), scope["request_id"])(scope, receive, send)
        except Exception as error:  # a bug; nothing above us would answer
            if scope["type"] == "http":
                log.exception("request_crashed")
                observe.report(error)
            if has_begun or scope["type"] != "http":
                raise
            await problem(Internal(), scope["request_id"])(scope, receive, send)
        return None


def _target_size(scope: Scope) -> int:
    return len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])


#: What UTF-16 and UTF-32 begin with. Without a mark, one of the first two bytes is NUL, which no JSON in UTF-8 has.
_OTHER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _in_utf8(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` that drops a mark (U+FEFF) in front of JSON, and raises 415 for other encodings than UTF-8.

    RFC 8259, section 8.1: JSON is UTF-8; who reads it may ignore a mark.
    """
    kind, _, parameters = Headers(scope=scope).get("content-type", "").lower().partition(";")
    if (kind and "json" not in kind) or scope["path"].startswith(WEBHOOKS):
        return receive  # or, of a webhook, verified byte by byte
    is_other = re.search(r"charset\s*=\s*\"?utf-?(16|32)", parameters)
    is_first = True

    async def in_utf8() -> Message:
        nonlocal is_first
        message = await receive()
        if not is_first or message["type"] != "http.request":
            return message
        is_first, body = False, message.get("body", b"")
        while len(body) < len(codecs.BOM_UTF8) and message.get("more_body"):
            message = await receive()
            body += message.get("body", b"")
        if is_other or body.startswith(_OTHER_MARKS) or 0 in body[:2]:
            raise UnsupportedMedia("Send JSON in UTF-8; other encodings, such as UTF-16, are not accepted.")
        return {**message, "body": body.removeprefix(codecs.BOM_UTF8)}

    return in_utf8


class Body:
    """A request's body on its way in: how large it may be, how slow, and how much of it waits with others'."""

    def __init__(self, scope: Scope, receive: Receive, limits: BodyLimits, in_flight: Counter[object]) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._limits = limits
        self._in_flight = in_flight
        self._scope = scope
        self._from = "strangers" if scope["path"].startswith(WEBHOOKS) else "callers"
        is_form = scope["path"] in FORMS and headers.get("content-type", "").lower().startswith("multipart/")
        self._most = limits.form_bytes if is_form else limits.other_bytes
        self._most = MAX_WEBHOOK if self._from == "strangers" else self._most
        self._by: object = None  # the user, once it is known
        self._announced = int(length) if (length := headers.get("content-length", "")).isdecimal() else 0
        self._taken = self._in_window = 0  # bytes
        self._ends = self._window_ends = 0.0  # seconds of the loop's clock
        self._is_complete = not self._announced and "transfer-encoding" not in headers

    async def receive(self) -> Message:
        """Return the next part. Raises TooLarge, RequestTimeout, or Unavailable while others fill the process."""
        if self._is_complete:
            return await self._receive()
        if self._announced > self._most:
            raise self._too_large()
        try:
            async with asyncio.timeout_at(self._deadline()):
                message = await self._receive()
        except TimeoutError:
            raise RequestTimeout from None
        self._take(len(message.get("body", b"")))
        self._is_complete = not message.get("more_body", False)
        return message

    def close(self) -> None:
        """Count its bytes no more: the request has ended."""
        self._count(-self._taken)

    def _count(self, size: int) -> None:
        if size:
            self._in_flight[self._from] += size
            self._by = self._by or getattr(self._scope.get(USER), "id", None)
            if self._by:
                self._in_flight[self._by] += size
            if self._by and not self._in_flight[self._by]:
                del self._in_flight[self._by]
            BYTES_IN_FLIGHT.labels(self._from).set(self._in_flight[self._from])

    def _deadline(self) -> float:
        """Return when the next part must be here: at the end of the whole, or of ten seconds with too little."""
        now = asyncio.get_running_loop().time()
        self._ends = self._ends or now + self._limits.seconds
        if not self._window_ends or self._in_window >= RATE_WINDOW * self._limits.bytes_per_second:
            self._window_ends, self._in_window = now + RATE_WINDOW, 0
        return min(self._ends, self._window_ends)

    def _take(self, size: int) -> None:
        self._taken += size
        self._in_window += size
        self._count(size)
        if self._taken > self._most:
            raise self._too_large()
        if self._taken > SMALL and (
            self._is_over(self._from, SHARES[self._from]) or self._is_over(self._by, USER_SHARE)
        ):
            raise Unavailable("Too many large requests are under way. Try again shortly.", retry_after=5)

    def _is_over(self, whose: object, share: int) -> bool:
        return self._in_flight[whose] > self._limits.bytes_in_flight // share

    def _too_large(self) -> TooLarge:
        size = f"{self._most / _MIB:.0f} MiB" if self._most >= _MIB else f"{self._most // 1024} KiB"
        return TooLarge(f"The body is larger than the {size} that are accepted here.")
