"""Around every request: an id, a log line, metrics, security headers, a limit on the body, and an answer to a crash.

Also what holds for the bodies of all routes: HEAD is answered as GET without a body, and JSON is UTF-8.
"""

import asyncio
import codecs
import re
from collections import Counter
from collections.abc import Sequence
from functools import cache, partial
from time import perf_counter

import structlog
from fastapi import Request
from fastapi.routing import APIRoute
from prometheus_client import Counter as Count, Histogram
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallyframe import observe
from tallyframe.api import limits
from tallyframe.api.direct import Serve
from tallyframe.api.methods import METHODS
from tallyframe.api.metrics import BYTES_IN_FLIGHT, REQUESTS, SECONDS
from tallyframe.api.problems import HANDLERS, problem
from tallyframe.errors import Internal, TooLarge, Unavailable, UnsupportedMedia
from tallyframe.ids import new_native_id

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
#: Below this, files are served, which for HEAD are not read at all.
_FILES = "/media/"
_UNLOGGED, _MOST_LOGGED = ("/healthz", "/readyz", "/metrics"), 300  # paths, and characters of others

#: Where a request's scope keeps who is asking.
USER = "tallyframe.user"

#: Names and values, as they are sent: what every answer has, and what those about users have.
SAFE_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
    (b"x-frame-options", b"DENY"),
)
_NO_STORE = (*SAFE_HEADERS, (b"cache-control", b"no-store"))


class Edge:
    """The one middleware. Plain ASGI, so that streaming and context variables work as without it."""

    def __init__(self, app: ASGIApp, *, bounds: limits.BodyLimits) -> None:
        self._app = app
        self._bounds = bounds
        self._in_flight = Counter[object]()
        for sender in limits.SHARES:
            BYTES_IN_FLIGHT.labels(sender).set_function(partial(self._in_flight.__getitem__, sender))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes through."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        headers = dict(reversed(scope["headers"]))  # the first of each name
        sent_id = headers.get(b"x-request-id", b"").decode("latin-1")
        request_id = scope["request_id"] = sent_id if _REQUEST_ID.fullmatch(sent_id) else str(new_native_id())
        started, status = perf_counter(), 0
        is_head = scope["method"] == "HEAD"
        asked = {**scope, "method": "GET"} if is_head and not scope["path"].startswith(_FILES) else scope
        has_body = b"content-length" in headers or b"transfer-encoding" in headers  # RFC 9112, 6
        body = Body(asked, receive, self._bounds, self._in_flight) if has_body else None

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

        structlog.contextvars.bind_contextvars(request_id=request_id)
        structlog.contextvars.unbind_contextvars("user_id")  # of the request before on this connection
        try:
            await self._app(asked, _in_utf8(scope, body.receive) if body else receive, answer)
        except ClientDisconnect:  # in the middle of its request; there is nobody to answer
            log.info("client_gone")
        finally:
            if body:
                body.close()
            status, seconds = status or 499, perf_counter() - started
            route = getattr(asked.get("route"), "path", "unmatched")
            method = scope["method"] if scope["method"] in METHODS else "other"  # few: each is kept for good
            requests, took = _counted(method, route, status)
            requests.inc()
            took.observe(seconds)
            if scope["path"] not in _UNLOGGED:
                about = {"method": scope["method"], "path": scope["path"][:_MOST_LOGGED], "status": status}
                log.info("request", **about, milliseconds=round(seconds * 1000, 1))
            structlog.contextvars.unbind_contextvars("request_id")
        return None


@cache  # to find them by their labels would take longer than to count
def _counted(method: str, route: str, status: int) -> tuple[Count, Histogram]:
    return REQUESTS.labels(method, route, str(status)), SECONDS.labels(method, route)


def add_headers(start: Message, scope: Scope) -> None:
    """Add to the start of an answer what every answer has."""
    sent = start["headers"]
    names = {name.lower() for name, _ in sent}
    if start["status"] in {204, 304} and b"content-type" in names:  # there is no content that could have a type
        sent = [each for each in sent if each[0].lower() != b"content-type"]
    more = _NO_STORE if scope["path"].startswith("/v1/") else SAFE_HEADERS
    added = [each for each in more if each[0] not in names]
    start["headers"] = [*sent, *added, (b"x-request-id", scope["request_id"].encode())]


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
            return await problem(limits.UriTooLong(words), scope["request_id"])(scope, receive, send)

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
            await problem(Unavailable(limits.CUT_OFF, retry_after=1), scope["request_id"])(scope, receive, send)
        except Exception as error:  # a bug; nothing above us would answer
            if scope["type"] == "http":
                log.exception("request_crashed")
                observe.report(error)
            if has_begun or scope["type"] != "http":
                raise
            await problem(Internal(), scope["request_id"])(scope, receive, send)
        return None


class Direct:
    """Stands in front of the framework's router."""

    def __init__(self, app: ASGIApp, *, served: Sequence[tuple[APIRoute, Serve]]) -> None:
        self._app = app
        self._served = served

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request, or hand it on."""
        if scope["type"] == "http":
            for route, serve in self._served:
                if scope["method"] in (route.methods or ()) and (found := route.path_regex.match(scope["path"])):
                    scope.update(route=route, path_params=found.groupdict())
                    answer = await _answered(serve, Request(scope, receive))
                    if answer is not None:
                        return await answer(scope, receive, send)
        return await self._app(scope, receive, send)


async def _answered(serve: Serve, request: Request) -> Response | None:
    """Return the answer, also to an error that the framework would answer."""
    try:
        return await serve(request)
    except Exception as error:
        for kind, handle in HANDLERS.items():
            if isinstance(error, kind):
                return handle(request, error)
        raise


def _target_size(scope: Scope) -> int:
    return len(scope.get("raw_path") or scope["path"]) + len(scope["query_string"])


#: What UTF-16 and UTF-32 begin with. Without a mark, one of the first two bytes is NUL, which no JSON in UTF-8 has.
_OTHER_MARKS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def _in_utf8(scope: Scope, receive: Receive) -> Receive:
    """Return a `receive` that drops a mark (U+FEFF) in front of JSON, and raises 415 for other encodings than UTF-8.

    RFC 8259, section 8.1: JSON is UTF-8; who reads it may ignore a mark.
    """
    kind, _, parameters = Headers(scope=scope).get("content-type", "").lower().partition(";")
    if (kind and "json" not in kind) or scope["path"].startswith(limits.WEBHOOKS):
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

    def __init__(self, scope: Scope, receive: Receive, bounds: limits.BodyLimits, in_flight: Counter[object]) -> None:
        headers = Headers(scope=scope)
        self._receive = receive
        self._bounds = bounds
        self._in_flight = in_flight
        self._scope = scope
        self._from = "strangers" if scope["path"].startswith(limits.WEBHOOKS) else "callers"
        is_form = scope["path"] in limits.FORMS and headers.get("content-type", "").lower().startswith("multipart/")
        self._most = bounds.form_bytes if is_form else bounds.other_bytes
        self._most = limits.MAX_WEBHOOK if self._from == "strangers" else self._most
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
            raise limits.RequestTimeout from None
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

    def _deadline(self) -> float:
        """Return when the next part must be here: at the end of the whole, or of ten seconds with too little."""
        now = asyncio.get_running_loop().time()
        self._ends = self._ends or now + self._bounds.seconds
        if not self._window_ends or self._in_window >= limits.RATE_WINDOW * self._bounds.bytes_per_second:
            self._window_ends, self._in_window = now + limits.RATE_WINDOW, 0
        return min(self._ends, self._window_ends)

    def _take(self, size: int) -> None:
        self._taken += size
        self._in_window += size
        self._count(size)
        if self._taken > self._most:
            raise self._too_large()
        if self._taken > limits.SMALL and (
            self._is_over(self._from, limits.SHARES[self._from]) or self._is_over(self._by, limits.USER_SHARE)
        ):
            raise Unavailable("Too many large requests are under way. Try again shortly.", retry_after=5)

    def _is_over(self, whose: object, share: int) -> bool:
        return self._in_flight[whose] > self._bounds.bytes_in_flight // share

    def _too_large(self) -> TooLarge:
        size = f"{self._most / limits.MIB:.0f} MiB" if self._most >= limits.MIB else f"{self._most // 1024} KiB"
        return TooLarge(f"The body is larger than the {size} that are accepted here.")
