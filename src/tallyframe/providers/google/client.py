"""The one way to Google: google-genai's client over a transport that keeps the key at home and answers in bounds.

What the SDK would take from the environment is passed explicitly or made ineffective: keys, base address, API version,
project, Vertex mode, HTTP library, replays, proxies, the project that pays, the debug log with the key in it. Only the
certificate authorities (SSL_CERT_FILE, SSL_CERT_DIR) and, in Vertex mode with a project, Google's application default
credentials come from there. Facts are from the source of google-genai 3.4.0 and httpx2 2.16.2.
"""

import asyncio
import functools
import logging
import math
import ssl
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, cast

import google.auth
import httpx2
from google import genai
from google.auth.credentials import Credentials
from google.auth.transport.requests import Request as TokenRequest
from google.genai import types
from google.genai.client import DebugConfig

CONNECT_SECONDS = 10.0  # at most, for the connection alone; never more than half of the whole call's time
TOKEN_SECONDS = 10.0  # for an access token

#: GOOGLE_GENAI_DEBUG makes the SDK write whole requests to this log, at level DEBUG: with the key and the prompt.
_SDK_LOG = logging.getLogger("google.genai")
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_MULTI_REGIONS = frozenset({"us", "eu"})
#: A connection that Google closes just when it is used again would put an order in doubt; a new one costs little here.
_NO_POOL = httpx2.Limits(max_connections=None, max_keepalive_connections=0)
_USER_PROJECT = "x-goog-user-project"


class ResponseTooLarge(Exception):
    """Google's answer has more bytes than are accepted."""


@dataclass(frozen=True, slots=True)
class GoogleAccess:
    """How to reach Google: with an `api_key`, or in Vertex mode with `project` and application default credentials.

    `base_url` may carry a path in front; None is Google's own address. `location` is for Vertex, such as "us-central1".
    """

    api_key: str = field(repr=False)
    base_url: str | None = None
    timeout: float = 120.0  # seconds, for a whole call
    max_bytes: int = 100 * 2**20  # of one response
    vertex: bool = False
    project: str = ""
    location: str = ""


class Google:
    """A client for one API version; used in one event loop, closed with `aclose`.

    `api_version`: "" is the SDK's own choice, "v1" with a key and "v1beta1" in Vertex mode. `credentials` stand in for
    the application default ones. Raises ValueError if the access can't work whatever Google says.
    """

    def __init__(self, access: GoogleAccess, api_version: str = "", *, credentials: Credentials | None = None) -> None:
        _check(access)
        _SDK_LOG.setLevel(logging.INFO)
        self.access = access
        self.api_version = api_version or ("v1beta1" if access.vertex else "v1")
        self.base_url = access.base_url or _default_base_url(access)
        self._credentials = credentials
        self._client: genai.Client | None = None
        self._http = httpx2.AsyncClient(
            transport=_Guarded(self.base_url, access, self._paying_project),
            trust_env=False,
            follow_redirects=False,
        )

    @property
    def client(self) -> genai.Client:
        """The SDK's client; its `aio` side goes through our transport, its blocking side goes nowhere."""
        if self._client is None:
            self._client = self._make()
        return self._client

    def deadline(self, seconds: float | None = None) -> asyncio.Timeout:
        """Return what ends a whole call: `async with google.deadline(): ...` raises TimeoutError after `timeout`."""
        return asyncio.timeout(self.access.timeout if seconds is None else seconds)

    async def ready(self) -> None:
        """Get an access token in a thread, where one is needed: the interactions API would block the event loop for it.

        To be called before each request. Raises google.auth.exceptions.GoogleAuthError.
        """
        if self.access.api_key:
            return
        if self._credentials is None:
            self._credentials = await asyncio.to_thread(_default_credentials)
        if not self._credentials.valid:
            await asyncio.to_thread(self._credentials.refresh, functools.partial(TokenRequest(), timeout=TOKEN_SECONDS))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _paying_project(self) -> str | None:
        return getattr(self._credentials, "quota_project_id", None)

    def _make(self) -> genai.Client:
        access = self.access
        return genai.Client(
            enterprise=access.vertex,
            api_key=access.api_key or None,
            credentials=None if access.api_key else self._credentials,
            project=access.project or None,
            location=_location(access),
            debug_config=DebugConfig(client_mode=None, replays_directory=None, replay_id=None),
            http_options=types.HttpOptions(
                base_url=self.base_url,
                api_version=self.api_version,
                timeout=math.ceil(access.timeout * 1000),  # milliseconds
                retry_options=types.HttpRetryOptions(attempts=1),
                httpx_client=httpx2.Client(transport=_Nowhere(), trust_env=False),
                httpx_async_client=self._http,
            ),
        )


class _Guarded(httpx2.AsyncBaseTransport):
    """Talks to one origin only, takes no redirects, no compression and no more than `max_bytes` a response."""

    def __init__(self, base_url: str, access: GoogleAccess, paying_project: Callable[[], str | None]) -> None:
        self._base = httpx2.URL(base_url)
        self._max_bytes = access.max_bytes
        self._connect = min(CONNECT_SECONDS, access.timeout / 2)
        self._paying_project = paying_project
        self._inner = httpx2.AsyncHTTPTransport(verify=_tls(), trust_env=False, limits=_NO_POOL)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises ResponseTooLarge, and httpx2.TransportError for what transports fail at."""
        if _origin(request.url) != _origin(self._base):
            raise httpx2.UnsupportedProtocol(f"The key is for {self._base.host}, not for {request.url.host}.")
        self._trim(request)
        response = await self._inner.handle_async_request(request)
        try:
            self._check(response)
        except BaseException:
            await response.aclose()
            raise
        response.headers.pop("location", None)  # a redirect is an answer like any other, and leads nowhere
        response.stream = _Capped(cast("httpx2.AsyncByteStream", response.stream), self._max_bytes)
        return response

    async def aclose(self) -> None:
        await self._inner.aclose()

    def _trim(self, request: httpx2.Request) -> None:
        request.headers["accept-encoding"] = "identity"  # nothing that grows when it is unpacked
        if request.headers.get(_USER_PROJECT) != self._paying_project():
            request.headers.pop(_USER_PROJECT, None)  # the SDK takes it from GOOGLE_GENAI_USER_PROJECT
        timeout: dict[str, Any] = dict(request.extensions.get("timeout", {}))
        timeout["connect"] = min(timeout.get("connect") or self._connect, self._connect)
        request.extensions["timeout"] = timeout

    def _check(self, response: httpx2.Response) -> None:
        if response.headers.get("content-encoding", "identity").lower() not in {"", "identity"}:
            raise httpx2.DecodingError("The answer is compressed, which was not asked for.")
        announced = response.headers.get("content-length", "")
        if announced.isdecimal() and int(announced) > self._max_bytes:
            raise _too_large(self._max_bytes)


class _Capped(httpx2.AsyncByteStream):
    """A response's bytes, up to a number."""

    def __init__(self, stream: httpx2.AsyncByteStream, max_bytes: int) -> None:
        self._stream = stream
        self._max_bytes = max_bytes

    async def __aiter__(self) -> AsyncIterator[bytes]:
        received = 0
        async for chunk in self._stream:
            received += len(chunk)
            if received > self._max_bytes:
                raise _too_large(self._max_bytes)
            yield chunk

    async def aclose(self) -> None:
        await self._stream.aclose()


class _Nowhere(httpx2.BaseTransport):
    """In the place of the SDK's blocking transport, which nothing here may use."""

    def handle_request(self, request: httpx2.Request) -> httpx2.Response:
        """Refuse."""
        raise httpx2.UnsupportedProtocol(f"Blocking calls are not made: {request.method} {request.url.path}.")


def _check(access: GoogleAccess) -> None:
    if access.timeout <= 0 or access.max_bytes <= 0:
        raise ValueError("The timeout and the limit on bytes must be above zero.")
    if not access.vertex and (not access.api_key or access.project or access.location):
        raise ValueError("Without Vertex mode, Google takes an API key, and neither a project nor a location.")
    if access.vertex and bool(access.api_key) == bool(access.project):
        raise ValueError("Vertex mode takes either an API key or a project.")
    if access.location and not access.project:
        raise ValueError("A location is of a project.")
    base = httpx2.URL(access.base_url or "https://googleapis.com")
    if base.scheme not in {"http", "https"} or not base.host or base.userinfo or base.query:
        raise ValueError("Google's address must be like https://host/path.")


def _location(access: GoogleAccess) -> str | None:
    return (access.location or "global") if access.project else None


def _default_base_url(access: GoogleAccess) -> str:
    """Return what the SDK chooses itself, but for GOOGLE_GEMINI_BASE_URL and GOOGLE_VERTEX_BASE_URL."""
    if not access.vertex:
        return "https://generativelanguage.googleapis.com"
    location = _location(access) or "global"
    if location == "global":
        return "https://aiplatform.googleapis.com"
    if location in _MULTI_REGIONS:
        return f"https://aiplatform.{location}.rep.googleapis.com"
    return f"https://{location}-aiplatform.googleapis.com"


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _too_large(max_bytes: int) -> ResponseTooLarge:
    return ResponseTooLarge(f"The answer has more than {max_bytes:,} bytes.")


def _default_credentials() -> Credentials:
    credentials: Credentials = google.auth.default(scopes=_SCOPES)[0]
    return credentials


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()  # reads the system's certificates: tens of milliseconds, so once
