"""Around every request: an id, a log line, metrics, security headers, a limit on the body, and an answer to a crash."""

import re
from time import perf_counter

import structlog
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from tallyframe import observe
from tallyframe.api.metrics import REQUESTS, SECONDS
from tallyframe.api.problems import problem
from tallyframe.errors import Internal
from tallyframe.ids import new_id

log = structlog.get_logger()

_REQUEST_ID = re.compile(r"[\w-]{1,64}", re.ASCII)
_UNLOGGED = ("/healthz", "/readyz", "/metrics")

SAFE_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "X-Frame-Options": "DENY",
}


class Edge:
    """The one middleware. Plain ASGI, so that streaming and context variables work as without it."""

    def __init__(self, app: ASGIApp, *, max_body: int) -> None:
        self._app = app
        self._max_body = max_body

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; anything but HTTP passes through."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        sent_id = Headers(scope=scope).get("x-request-id", "")
        request_id = scope["request_id"] = sent_id if _REQUEST_ID.fullmatch(sent_id) else str(new_id())
        started, status = perf_counter(), 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                headers["X-Request-Id"] = request_id
                for name, value in SAFE_HEADERS.items():
                    headers.setdefault(name, value)
                if scope["path"].startswith("/v1/"):
                    headers.setdefault("Cache-Control", "no-store")
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            structlog.contextvars.unbind_contextvars("user_id")  # of the request before on this connection
            try:
                await self._app(scope, _limited(scope, receive, self._max_body), answer)
            except ClientDisconnect:  # in the middle of its request; there is nobody to answer
                log.info("client_gone")
            except Exception as error:  # a bug; nothing above us would answer
                log.exception("request_crashed")
                observe.report(error)
                if status:
                    raise
                await problem(Internal(), request_id)(scope, receive, answer)
            finally:
                status, seconds = status or 499, perf_counter() - started
                route = getattr(scope.get("route"), "path", "unmatched")
                REQUESTS.labels(scope["method"], route, str(status)).inc()
                SECONDS.labels(scope["method"], route).observe(seconds)
                if Request(scope).url.path not in _UNLOGGED:
                    about = {"method": scope["method"], "path": scope["path"], "status": status}
                    log.info("request", **about, milliseconds=round(seconds * 1000, 1))
        return None


def _limited(scope: Scope, receive: Receive, limit: int) -> Receive:
    """Return a `receive` that raises 413 once the body, or its announced length, is more than `limit` bytes."""
    announced = Headers(scope=scope).get("content-length", "0")
    seen = int(announced) if announced.isdigit() and int(announced) > limit else 0

    async def limited() -> Message:
        nonlocal seen
        if seen <= limit:
            message = await receive()
            seen += len(message.get("body", b""))
        if seen > limit:
            raise HTTPException(413, f"The request is larger than the {limit / 1024 / 1024:.0f} MiB that are accepted.")
        return message

    return limited
