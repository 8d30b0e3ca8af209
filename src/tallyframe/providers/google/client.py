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
from dataclasses import dataclass, field

import google.auth
import httpx2
from google import genai
from google.auth.credentials import Credentials
from google.auth.transport.requests import Request as TokenRequest
from google.genai import types
from google.genai.client import DebugConfig

from tallyframe.providers.transport import GuardedTransport, check_address

TOKEN_SECONDS = 10.0  # for an access token

#: GOOGLE_GENAI_DEBUG makes the SDK write whole requests to this log, at level DEBUG: with the key and the prompt.
_SDK_LOG = logging.getLogger("google.genai")
_SCOPES = ("https://www.googleapis.com/auth/cloud-platform",)
_MULTI_REGIONS = frozenset({"us", "eu"})
_USER_PROJECT = "x-goog-user-project"


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
            transport=GuardedTransport(
                self.base_url, max_bytes=access.max_bytes, timeout=access.timeout, prepare=self._without_other_payers
            ),
            trust_env=False,
            follow_redirects=False,
        )

    @property
    def client(self) -> genai.Client:
        """The SDK's client; its `aio` side goes through our transport, its blocking side goes nowhere."""
        if self._client is None:
            access = self.access
            self._client = genai.Client(
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
            found: Credentials = (await asyncio.to_thread(google.auth.default, scopes=_SCOPES))[0]
            self._credentials = found
        if not self._credentials.valid:
            await asyncio.to_thread(self._credentials.refresh, functools.partial(TokenRequest(), timeout=TOKEN_SECONDS))

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    def _without_other_payers(self, request: httpx2.Request) -> None:
        """Remove the project that pays where it isn't that of the credentials: GOOGLE_GENAI_USER_PROJECT sets it."""
        if request.headers.get(_USER_PROJECT) != getattr(self._credentials, "quota_project_id", None):
            request.headers.pop(_USER_PROJECT, None)


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
    check_address(access.base_url or "https://googleapis.com", "Google")


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
