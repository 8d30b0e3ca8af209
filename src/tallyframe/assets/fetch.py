"""Fetches pictures from addresses that users give, and only from the public internet (OWASP API7:2023, SSRF).

What decides is never the spelling of an address: a name is resolved once, every answer must be public, and the
connection goes to the very answer that was checked. Redirects run through the same gate. An egress firewall around the
workers is the second line, and the only one against a network that maps private hosts to public addresses of its own.
"""

import asyncio
import contextlib
import ipaddress
import re
import socket
import zlib
from collections.abc import Awaitable, Callable, Collection
from importlib.metadata import version
from urllib.parse import urljoin

import httpx

from tallyframe.errors import TooLarge, ValidationFailed
from tallyframe.tls import client_context

#: (host, port) -> the one IP address to connect to; raises `Refused`.
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
#: gzip and deflate are one and the same to zlib with 32 added to the window bits.
_ZLIB_EITHER = zlib.MAX_WBITS | 32
_ENCODINGS = frozenset({"gzip", "x-gzip", "deflate"})

_HEADERS = {"Accept": "image/*", "Accept-Encoding": "identity", "Connection": "close"}
_NO_POOL = httpx.Limits(max_keepalive_connections=0)

#: IANA's special-purpose registries (RFC 6890 and updates), plus what `ipaddress` calls global in some versions.
_DENIED_V4 = tuple(
    ipaddress.IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared by carriers' NAT, RFC 6598; metadata at 100.100.100.200 in one cloud
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # a cloud's host agent behind a public address
        "169.254.0.0/16",  # link-local; metadata at 169.254.169.254 in most clouds
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments, 192.0.0.8 among them
        "192.0.2.0/24",  # documentation
        "192.88.99.0/24",  # 6to4 relays, RFC 7526
        "192.168.0.0/16",  # private
        "198.18.0.0/15",  # benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
)

#: All of IPv6 that is handed out to hosts. Outside: loopback, IPv4-mapped and -compatible, NAT64 (64:ff9b::/96 and
#: 64:ff9b:1::/48), unique local, link-local, site-local and multicast addresses.
_GLOBAL_V6 = ipaddress.IPv6Network("2000::/3")
_DENIED_V6 = tuple(
    ipaddress.IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments: Teredo, ORCHID, benchmarks
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4: an IPv4 address in disguise
        "3ffe::/16",  # the former 6bone
        "3fff::/20",  # documentation, RFC 9637
    )
)


_NOT_ALLOWED = "The address of this picture is not allowed: only public http(s) addresses on ports 80 and 443."
_NOT_FETCHED = "The picture's address could not be fetched"


class Refused(Exception):
    """This address is not fetched from. The message is for the user: no address of ours, no exception's text."""

    def __init__(self, detail: str = _NOT_ALLOWED) -> None:
        super().__init__(detail)


def blocked(ip: str) -> bool:
    """Tell whether `ip`, a literal IPv4 or IPv6 address, is none to connect to: not public, or not an address.

    Pure. IPv6 with a zone id (RFC 4007) and IPv4 wrapped in IPv6 in any way are blocked whatever they wrap.
    """
    try:
        address = ipaddress.ip_address(ip)
    except ValueError:
        return True
    if isinstance(address, ipaddress.IPv4Address):
        denied = any(address in network for network in _DENIED_V4)
    else:
        zoned = address.scope_id is not None
        denied = zoned or address not in _GLOBAL_V6 or any(address in network for network in _DENIED_V6)
    return denied or not address.is_global or address.is_multicast or address.is_reserved


async def resolve_public(host: str, port: int) -> str:
    """Look `host` up once and return one of its addresses, IPv4 first. Raises Refused unless all are public.

    A name without an answer is refused in the same words, so nobody can learn which internal names exist.
    """
    try:
        answers = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        raise Refused from error
    addresses = [str(answer[4][0]) for answer in answers]
    if not addresses or any(blocked(address) for address in addresses):
        raise Refused
    return min(addresses, key=lambda address: ":" in address)


async def fetch_picture(
    url: str,
    *,
    max_bytes: int,
    deadline: float,
    pointer: str = "",
    resolve: Resolver = resolve_public,
    ports: Collection[int] = PORTS,
) -> bytes:
    """Return the bytes at `url`, at most `max_bytes` after decompression, within `deadline` seconds for everything.

    Up to `MAX_REDIRECTS` redirects are followed. Nothing is said about what the bytes are: `pictures.clean` decides.
    Raises TooLarge for more bytes; ValidationFailed, with `pointer`, for an address that is refused, can't be reached
    or answers with other than 2xx, and at the deadline.
    """
    try:
        async with asyncio.timeout(deadline):
            return await _follow(url, max_bytes, resolve, ports)
    except Refused as error:
        raise ValidationFailed(str(error), pointer=pointer) from error
    except TimeoutError as error:
        raise ValidationFailed(f"{_NOT_FETCHED}: it took longer than {deadline:g} seconds.", pointer=pointer) from error
    except (httpx.HTTPError, OSError, zlib.error) as error:
        raise ValidationFailed(f"{_NOT_FETCHED}.", pointer=pointer) from error


async def _follow(url: str, max_bytes: int, resolve: Resolver, ports: Collection[int]) -> bytes:
    for _ in range(MAX_REDIRECTS + 1):
        target, port = _checked(url, ports)
        ip = await resolve(_ascii_host(target), port)
        answer = await _get(target, ip, max_bytes)
        if isinstance(answer, bytes):
            return answer
        url = _joined(target, answer)
    raise Refused(f"{_NOT_FETCHED}: it redirects more than {MAX_REDIRECTS} times.")


def _checked(url: str, ports: Collection[int]) -> tuple[httpx.URL, int]:
    """Return `url`, parsed by the one parser that also connects, and its port. Raises Refused."""
    if len(url) > MAX_URL:
        raise Refused(f"The address of this picture is longer than {MAX_URL:,} characters.")
    try:
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


def _joined(base: httpx.URL, location: str) -> str:
    try:
        return urljoin(str(base), location)
    except ValueError as error:  # half an IPv6 address, for example
        raise Refused from error


async def _get(url: httpx.URL, ip: str, max_bytes: int) -> bytes | str:
    """Ask `ip` for `url`, and return the body or where a redirect leads.

    A transport per request, and no client around it. A pool finds TLS connections by address, and so would skip the
    certificate check for another name there; a client carries cookies along, logs addresses that can hold a signature,
    and parses redirects even where it is not to follow them.
    """
    headers = {**_HEADERS, "Host": url.netloc.decode("ascii"), "User-Agent": f"Tallyframe/{version('tallyframe')}"}
    extensions = {"sni_hostname": _ascii_host(url)}  # the certificate must be for the name
    request = httpx.Request("GET", url.copy_with(host=ip), headers=headers, extensions=extensions)
    async with httpx.AsyncHTTPTransport(
        verify=client_context(trust_env=False), trust_env=False, limits=_NO_POOL
    ) as transport:
        response = await transport.handle_async_request(request)
        async with contextlib.aclosing(response):
            return await _read(response, max_bytes)


async def _read(response: httpx.Response, max_bytes: int) -> bytes | str:
    if response.status_code in _REDIRECTS and "location" in response.headers:
        return response.headers["location"]
    if not response.is_success:
        raise Refused(f"{_NOT_FETCHED} (HTTP {response.status_code}).")
    return await _body(response, max_bytes)


async def _body(response: httpx.Response, max_bytes: int) -> bytes:
    """Read at most `max_bytes`, both as sent and as decompressed; a bomb is never inflated further than that."""
    inflate = _inflater(response.headers.get("content-encoding", ""))
    body, received = bytearray(), 0
    async for chunk in response.aiter_raw():
        received += len(chunk)
        body += inflate(chunk, max_bytes - len(body) + 1)
        if max(received, len(body)) > max_bytes:
            raise TooLarge(f"The picture at this address has more than {max_bytes:,} bytes.")
    return bytes(body)


def _inflater(encoding: str) -> Callable[[bytes, int], bytes]:
    """Return what turns a piece of the body into at most so many bytes. Some servers compress though not asked to."""
    name = encoding.strip().lower()
    if name in {"", "identity"}:
        return lambda chunk, _most: chunk
    if name not in _ENCODINGS:
        raise Refused(f"{_NOT_FETCHED}: it answers in an encoding that was not asked for.")
    return zlib.decompressobj(_ZLIB_EITHER).decompress
