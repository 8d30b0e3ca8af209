"""Origins of web pages, and the proxies in front of the API: spelt as they come over the wire, or refused.

A browser sends `Origin: scheme://host[:port]` in lower case, without the usual port and without a path (RFC 6454,
section 6.2; WHATWG URL, section 4.7), and what isn't spelt so never matches.
"""

import re
from collections.abc import Iterable
from difflib import get_close_matches
from ipaddress import IPv4Address, IPv6Address, ip_network
from typing import Annotated
from urllib.parse import SplitResult, urlsplit

from pydantic import AfterValidator

from tallyframe.settings.values import CommaList

_USUAL_PORT = {"http": 80, "https": 443}
#: Schemes that surely are no page's; others may be an app's.
_NO_PAGES = frozenset({"ws", "wss", "ftp", "file", "data", "blob", "mailto"})
#: A last label for which browsers take the whole for an IPv4 address.
_NUMBER = re.compile(r"\d+|0x[0-9a-f]*")
_HOST = re.compile(r"[a-z0-9_-]+(\.[a-z0-9_-]+)*\.?")
_NAME = re.compile(r"(localhost|[^\s/:@]+\.[^\s/:@]+)(:\d+)?(/.*)?")
#: Names with dots that are client ids and no hosts: Google's, and domains read backwards.
_CLIENT_ID = re.compile(r".*\.apps\.googleusercontent\.com|(com|org|net)\.[^/:]+")


def origin(text: str) -> str:
    """Return an origin as browsers send it, or "*", which is any. Raises ValueError for what can never match."""
    if text == "*":
        return text
    if text == "null":
        raise ValueError("'null' is what pages without an origin send, of anybody; name the origin of your app")
    if "://" not in text:
        name = re.sub(r"^(https?:)?/*", "", text, flags=re.IGNORECASE).partition("/")[0].lower()
        if not name:
            raise ValueError(f"{text!r} is no origin such as 'https://app.example.com'")
        scheme = "http" if name.startswith(("localhost", "127.")) else "https"
        raise ValueError(f"{text!r} has no scheme; write '{scheme}://{name}'")
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError as error:
        raise ValueError(f"{text!r} is no origin such as 'https://app.example.com': {error}") from None
    bare = f"{parts.scheme}://{host(text, parts)}"
    spelt = bare if port in {None, _USUAL_PORT.get(parts.scheme)} else f"{bare}:{port}"
    if "@" in parts.netloc:  # what stands before it may be a password, so it isn't repeated
        raise ValueError(f"an origin has no user name; write {spelt!r}")
    if parts.scheme in _NO_PAGES or (parts.scheme not in _USUAL_PORT and get_close_matches(parts.scheme, _USUAL_PORT)):
        raise ValueError(f"{text!r} has a scheme that no page has; write 'https{spelt.removeprefix(parts.scheme)}'")
    if parts.path not in {"", "/"} or re.search(r"[?#\\\s]", text):
        raise ValueError(f"{text!r} is more than an origin; write {spelt!r}")
    return spelt


def host(text: str, parts: SplitResult) -> str:
    """Return the host as browsers spell it. Raises ValueError for what is none."""
    name = parts.hostname or ""
    if not name.isascii() or ("%" in name and "[" not in parts.netloc):
        raise ValueError(f"{text!r} must have its host in Punycode, as browsers send it: 'xn--…'")
    if "*" in name:
        raise ValueError(f"{text!r} has a wildcard, which never matches; list each origin, or '*' alone for any")
    try:
        if "[" in parts.netloc:
            if "%" in name:
                raise ValueError("it names an interface, which browsers don't send")  # noqa: TRY301
            return f"[{IPv6Address(name)}]"
        if _NUMBER.fullmatch(name.removesuffix(".").rpartition(".")[2]):  # (WHATWG URL, section 3.5)
            return str(IPv4Address(name.removesuffix(".")))
    except ValueError as error:
        raise ValueError(f"{text!r} has no good address: {error}") from None
    if not _HOST.fullmatch(name):
        raise ValueError(f"{text!r} is no origin such as 'https://app.example.com'")
    return name


def party(text: str) -> str:
    """Return a party as tokens name it: an origin, or the id of a client, which is left as it is."""
    if text in {"*", "null"}:
        raise ValueError(f"{text!r} never matches; name the origin of your app, such as 'https://app.example.com'")
    if (
        "://" in text
        or re.match(r"//|https?:", text, re.IGNORECASE)
        or (_NAME.fullmatch(text) and not _CLIENT_ID.fullmatch(text))
    ):
        return origin(text)
    return text


def origins(values: Iterable[str]) -> tuple[str, ...]:
    """Return each origin once, as browsers send it. Raises ValueError for what can never match."""
    return tuple(dict.fromkeys(map(origin, values)))


def parties(values: Iterable[str]) -> tuple[str, ...]:
    """Return each authorized party once, as tokens name it. Raises ValueError for what can never match."""
    return tuple(dict.fromkeys(map(party, values)))


def proxies(values: tuple[str, ...]) -> tuple[str, ...]:
    """Return addresses and networks as they are, or "*" alone. Raises ValueError for others."""
    for value in () if values == ("*",) else values:
        try:
            ip_network(value)
        except ValueError:
            raise ValueError(
                f"{value!r} is no address such as '10.0.0.7', and no network such as '10.0.0.0/8'"
            ) from None
    return values


Origins = Annotated[CommaList, AfterValidator(origins)]
Parties = Annotated[CommaList, AfterValidator(parties)]
Proxies = Annotated[CommaList, AfterValidator(proxies)]
