"""The transport below the clients of vendors whose libraries use httpx2: one origin, no redirects, answers in bounds.

Facts are from the source of httpx2 2.16.2.
"""

import functools
import ssl
from collections.abc import AsyncIterator, Callable
from typing import Any, cast

import httpx2

CONNECT_SECONDS = 10.0  # at most, for the connection alone; never more than half of the whole call's time

#: A connection that a vendor closes just when it is used again would put an order in doubt; a new one costs little.
_NO_POOL = httpx2.Limits(max_connections=None, max_keepalive_connections=0)

#: Changes a request before it is sent.
Prepare = Callable[[httpx2.Request], None]


class ResponseTooLarge(Exception):
    """The vendor's answer has more bytes than are accepted."""


class GuardedTransport(httpx2.AsyncBaseTransport):
    """Talks to one origin only, follows no redirect, takes no compression and at most `max_bytes` per response.

    `timeout` is the time of a whole call in seconds. `prepare` may change a request before it is sent.
    """

    def __init__(self, base_url: str, *, max_bytes: int, timeout: float, prepare: Prepare | None = None) -> None:
        self._base = httpx2.URL(base_url)
        self._max_bytes = max_bytes
        self._connect = min(CONNECT_SECONDS, timeout / 2)
        self._prepare = prepare
        self._inner = httpx2.AsyncHTTPTransport(verify=_tls(), trust_env=False, limits=_NO_POOL)

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        """Send one request. Raises ResponseTooLarge, and httpx2.TransportError for what transports fail at."""
        if _origin(request.url) != _origin(self._base):
            raise httpx2.UnsupportedProtocol(f"The key is for {self._base.host}, not for {request.url.host}.")
        if self._prepare:
            self._prepare(request)
        request.headers["accept-encoding"] = "identity"  # nothing that grows when it is unpacked
        timeout: dict[str, Any] = dict(request.extensions.get("timeout", {}))
        timeout["connect"] = min(timeout.get("connect") or self._connect, self._connect)
        request.extensions["timeout"] = timeout
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
        """Close the connections."""
        await self._inner.aclose()

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


def check_address(url: str, vendor: str) -> None:
    """Raise ValueError unless a key may be sent to this address: http(s)://host/path, with neither login nor query."""
    base = httpx2.URL(url)
    if base.scheme not in {"http", "https"} or not base.host or base.userinfo or base.query:
        raise ValueError(f"{vendor}'s address must be like https://host/path.")


def _origin(url: httpx2.URL) -> tuple[str, str, int | None]:
    return url.scheme, url.host, url.port


def _too_large(max_bytes: int) -> ResponseTooLarge:
    return ResponseTooLarge(f"The answer has more than {max_bytes:,} bytes.")


@functools.cache
def _tls() -> ssl.SSLContext:
    return httpx2.create_ssl_context()  # reads the system's certificates: tens of milliseconds, so once
