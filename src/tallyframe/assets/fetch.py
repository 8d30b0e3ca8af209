"""Fetches pictures from addresses that users give, from the public internet only (OWASP API7:2023, SSRF).

The spelling of an address decides nothing: its host is resolved once, every answer must be public, and the connection
goes to the very IP address that was checked. Redirects are checked in the same way. An egress firewall around the
workers is the second line of defence, and the only one in a network that maps private hosts to public addresses.
"""

import asyncio
import contextlib
import re
import zlib
from collections.abc import Awaitable, Callable, Collection
from importlib.metadata import version
from urllib.parse import urljoin

import httpx

from tallyframe.assets.content_codings import TOO_MANY_BYTES, Inflater, Unusable, codings
from tallyframe.assets.public_addresses import NotPublic
from tallyframe.errors import TooLarge, ValidationFailed
from tallyframe.tls import client_context

#: (host, port) -> the one IP address to connect to; raises NotPublic.
Resolver = Callable[[str, int], Awaitable[str]]

#: The ports a picture may be fetched from.
PORTS = (80, 443)
MAX_REDIRECTS = 5
#: In characters. RFC 9110, 4.1 asks for 8,000 octets at least; no picture needs that many, and logs stay readable.
MAX_URL = 2_048

_DEFAULT_PORTS = {"http": 80, "https": 443}
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
#: Letters, digits and hyphens (RFC 1123, 2.1), the underscore that is seen in practice, or the inside of [an IPv6].
_HOST = re.compile(r"[a-z0-9._-]{1,253}|[0-9a-f:.]{2,45}")

_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}
_NO_POOL = httpx.Limits(max_keepalive_connections=0)

_NOT_ALLOWED = "The address of this picture is not allowed: only public http(s) addresses on ports 80 and 443."
_NOT_FETCHED = "The picture's address could not be fetched"


class Refused(Exception):
    """We don't fetch this. The message is for the user: it holds no address of ours and no exception's text."""

    def __init__(self, detail: str = _NOT_ALLOWED) -> None:
        super().__init__(detail)


async def fetch_picture(
    url: str,
    *,
    max_bytes: int,
    deadline: float,
    resolve: Resolver,
    pointer: str = "",
    ports: Collection[int] = PORTS,
) -> bytes:
    """Return the bytes at `url`, at most `max_bytes` after decompression, within `deadline` seconds for everything.

    Up to `MAX_REDIRECTS` redirects are followed. Nothing is said about what the bytes are: `pictures.clean` decides.
    Raises TooLarge for more bytes; ValidationFailed, with `pointer`, for an address that is refused, can't be reached
    or answers with other than 2xx, and at the deadline.
    """
    base, location = "", url
    try:
        async with asyncio.timeout(deadline):
            for _ in range(MAX_REDIRECTS + 1):
                target, port = _checked(base, location, ports)
                answer = await _get(target, await resolve(_ascii_host(target), port), max_bytes)
                if isinstance(answer, bytes):
                    return answer
                base, location = str(target), answer
    except NotPublic as error:
        raise ValidationFailed(_NOT_ALLOWED, pointer=pointer) from error
    except Refused as error:
        raise ValidationFailed(str(error), pointer=pointer) from error
    except TimeoutError as error:
        raise ValidationFailed(f"{_NOT_FETCHED}: it took longer than {deadline:g} seconds.", pointer=pointer) from error
    except (httpx.HTTPError, OSError, zlib.error) as error:
        raise ValidationFailed(f"{_NOT_FETCHED}.", pointer=pointer) from error
    raise ValidationFailed(f"{_NOT_FETCHED}: it redirects more than {MAX_REDIRECTS} times.", pointer=pointer)


def _checked(base: str, location: str, ports: Collection[int]) -> tuple[httpx.URL, int]:
    """Return `location`, which may be relative to `base`, parsed by the one parser that also connects, and its port.

    Raises Refused unless it is an http(s) address without credentials, on one of `ports`.
    """
    try:
        url = urljoin(base, location)  # ValueError for half an IPv6 address, for example
        if len(url) > MAX_URL:
            raise Refused(f"The address of this picture is longer than {MAX_URL:,} characters.")
        parsed = httpx.URL(url)
        host = _ascii_host(parsed).lower().rstrip(".")
        target = parsed.copy_with(host=host, fragment=None)
    except (httpx.InvalidURL, ValueError) as error:
        raise Refused from error
    port = _DEFAULT_PORTS.get(target.scheme, 0) if target.port is None else target.port
    if target.scheme not in _DEFAULT_PORTS or target.userinfo or not _HOST.fullmatch(host) or port not in ports:
        raise Refused
    return target, port


def _ascii_host(url: httpx.URL) -> str:
    """Return the host as it goes over the wire; `url.host` would give the Unicode behind an xn-- name."""
    return url.raw_host.decode("ascii")


async def _get(url: httpx.URL, ip: str, max_bytes: int) -> bytes | str:
    """Ask `ip` for `url`, and return the body, or the location that a redirect names.

    A transport per request, and no client around it: a pool finds TLS connections by IP address, and so would skip the
    certificate check for another name there; a client keeps cookies, logs addresses that can hold a signature, and
    parses redirects even if it is not to follow them.
    """
    headers = {**_HEADERS, "Host": url.netloc.decode("ascii"), "User-Agent": f"Tallyframe/{version('tallyframe')}"}
    extensions = {"sni_hostname": _ascii_host(url)}  # the certificate must be for the name
    request = httpx.Request("GET", url.copy_with(host=ip), headers=headers, extensions=extensions)
    tls = client_context(trust_env=False)
    async with httpx.AsyncHTTPTransport(verify=tls, trust_env=False, limits=_NO_POOL) as transport:
        response = await transport.handle_async_request(request)
        async with contextlib.aclosing(response):
            if response.status_code in _REDIRECTS and "location" in response.headers:
                return response.headers["location"]
            if not response.is_success:
                raise Refused(f"{_NOT_FETCHED} (HTTP {response.status_code}).")
            return await _body(response, max_bytes)


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    """Return the body, decompressed: some servers compress though not asked to.

    At most `max_bytes` are read, both as sent and as decompressed: a decompression bomb is inflated no further.
    """
    try:
        inflaters = [Inflater(each, max_bytes) for each in codings(response.headers.get_list("content-encoding"))]
        body, received = bytearray(), 0
        async for chunk in response.aiter_raw():
            received += len(chunk)
            for inflater in inflaters:
                chunk = inflater.feed(chunk)  # noqa: PLW2901  # each takes what the one before has made
            body += chunk
            if max(received, len(body)) > max_bytes:
                raise TooLarge(TOO_MANY_BYTES.format(max_bytes))
    except Unusable as error:
        raise Refused(f"{_NOT_FETCHED}: {error}.") from error
    if not all(inflater.is_whole for inflater in inflaters):
        raise Refused(f"{_NOT_FETCHED}: its compressed bytes end too early.")
    return bytes(body)
