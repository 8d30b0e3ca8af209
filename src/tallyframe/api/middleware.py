"""Around every request: an id, a log line, measurements, safe headers, a limit on the body, and no bare 500."""

import re
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallyframe import observe
from tallyframe.api.metrics import observe_request
from tallyframe.api.problems import problem
from tallyframe.errors import Internal, TooLarge
from tallyframe.ids import new_id

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
_QUIET = ("/healthz", "/readyz", "/metrics")

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}
API_CACHE = "no-store"


class Edge:
    """The one middleware. Plain ASGI, so that streaming and context variables work as without it."""

    def __init__(self, app: ASGIApp, *, max_body: int) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes through."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        asked = Headers(scope=scope).get("x-request-id", "")
        request_id = asked if _REQUEST_ID.fullmatch(asked) else str(new_id())
        scope["request_id"] = request_id
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            structlog.contextvars.unbind_contextvars("user_id")  # of the request before on this connection
            await self._serve(scope, receive, send, request_id)
        return None

    async def _serve(self, scope: Scope, receive: Receive, send: Send, request_id: str) -> None:
        started, status = perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                _add_headers(MutableHeaders(scope=message), scope["path"], request_id)
            await send(message)

        try:
            await self._app(scope, _limited(scope, receive, self._max_body), answer)
        except ClientDisconnect:  # gone in the middle of its request: nobody is there to be answered
            log.info("client_gone")
        except Exception as error:  # the last place where a bug can still become an honest answer
            log.exception("request_crashed")
            observe.report(error)
            if status:
                raise
            await problem(Internal(), request_id)(scope, receive, answer)
        finally:
            _report(scope, status or 499, perf_counter() - started)


def _limited(scope: Scope, receive: Receive, limit: int) -> Receive:
    """Return a receive that stops with 413 once the body is longer than `limit` bytes, announced or not."""
    announced = Headers(scope=scope).get("content-length", "0")
    seen = int(announced) if announced.isdigit() and int(announced) > limit else 0
    too_large = TooLarge(f"The request is larger than the {limit / 1024 / 1024:.0f} MiB that are accepted.")

    async def limited() -> Message:
        nonlocal seen
        if seen <= limit:
            message = await receive()
            seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, too_large.detail)
        return message

    return limited


def _add_headers(headers: MutableHeaders, path: str, request_id: str) -> None:
    headers["X-Request-Id"] = request_id
    for name, value in SAFE_HEADERS.items():
        headers.setdefault(name, value)
    if path.startswith("/v1/"):
        headers.setdefault("Cache-Control", API_CACHE)


def _report(scope: Scope, status: int, seconds: float) -> None:
    route = getattr(scope.get("route"), "path", "unmatched")
    observe_request(scope["method"], route, status, seconds)
    if Request(scope).url.path not in _QUIET:
        log.info(
            "request", method=scope["method"], path=scope["path"], status=status, milliseconds=round(seconds * 1000, 1)
        )
