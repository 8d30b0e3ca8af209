"""Which pages of other origins may call the API from a browser (CORS, in the Fetch standard, section 3.2)."""

from collections.abc import Sequence

from starlette.datastructures import Headers
from starlette.middleware.cors import CORSMiddleware
from starlette.types import ASGIApp, Receive, Scope, Send

from tallyframe.api.methods import METHODS
from tallyframe.api.problems import problem
from tallyframe.errors import TallyframeError

#: What a page may read besides the body and what every page may read anyway (Content-Type, Last-Modified and others).
EXPOSED = (
    "Accept-Ranges",
    "Allow",
    "Content-Disposition",
    "Content-Range",
    "ETag",
    "Idempotent-Replayed",
    "Location",
    "Preference-Applied",
    "Retry-After",
    "WWW-Authenticate",
    "X-Request-Id",
)


class OriginNotAllowed(TallyframeError):
    """Pages of this origin may not call the API. TALLYFRAME_CORS_ORIGINS lists those that may."""

    status = 400
    code = "origin_not_allowed"


class Browsers(CORSMiddleware):
    """Starlette's, but that a refused preflight is a problem as well.

    A page may send any header: those who trace requests add their own (`sentry-trace`, `baggage`, `traceparent`), and
    none opens anything here. There are no cookies, so `Access-Control-Allow-Credentials` is never sent.
    """

    def __init__(self, app: ASGIApp, *, origins: Sequence[str]) -> None:
        super().__init__(
            app,
            allow_origins=origins,
            allow_methods=METHODS,
            allow_headers=["*"],
            allow_private_network=True,  # only pages of these origins, and each request carries a key
            expose_headers=EXPOSED,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a preflight, or serve the request and say which page may read the answer."""
        headers = Headers(scope=scope) if scope["type"] == "http" else Headers()
        method = headers.get("access-control-request-method")
        if scope["type"] != "http" or scope["method"] != "OPTIONS" or not method or "origin" not in headers:
            return await super().__call__(scope, receive, send)
        if not self.is_allowed_origin(headers["origin"]):
            refusal = OriginNotAllowed()
        elif method not in METHODS:
            refusal = OriginNotAllowed(f"Pages may not use the method {method}.")
        else:
            return await super().__call__(scope, receive, send)
        answer = problem(refusal, str(scope["request_id"]))
        answer.headers["Vary"] = self.preflight_headers["Vary"]
        return await answer(scope, receive, send)
