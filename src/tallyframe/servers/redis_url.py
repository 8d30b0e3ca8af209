"""What `TALLYFRAME_REDIS_URL` may say: redis://, rediss:// (TLS) or unix://, as redis-py reads them.

redis-py overlooks what it can't read, such as a database that is no number. So all is looked at before it is used.
"""

import re
from urllib.parse import parse_qsl, unquote

from tallyframe.servers.parts import ESCAPES, check_file, check_pair, parts_of, port_of

EXAMPLE = "redis://:password@host:6379/0"
_FILES = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile")
#: Parameters of redis-py's connections that may be set in the URL, with what their values look like.
_TLS = {
    **dict.fromkeys(_FILES, r".+"),
    "ssl_cert_reqs": "none|optional|required",
    "ssl_check_hostname": r"(?i)true|false",
}
_KNOWN = {
    **dict.fromkeys(("db", "health_check_interval"), r"\d{1,5}"),
    **dict.fromkeys(("socket_timeout", "socket_connect_timeout"), r"(?=.*[1-9])\d{1,4}(\.\d{1,3})?"),
    **dict.fromkeys(("socket_keepalive", "retry_on_timeout"), r"(?i)true|false"),
    **dict.fromkeys(("username", "password"), r".*"),
    "client_name": r"[!-~]*",  # Redis takes no others
    "protocol": "[23]",
}


def check_redis_url(url: str) -> None:
    """Raise ValueError with what is wrong with the URL and what to do, without anything secret."""
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.strip() not in {"redis", "rediss", "unix"}:
        raise ValueError(f"must start with redis://, or rediss:// for TLS, as in {EXAMPLE}")
    authority, path, query = parts_of(url)
    place = re.fullmatch(r"(?:\[[0-9A-Fa-f:.]+\]|[^\[\]:]*)(?::(\d*\D.*|\d+))?", authority.rpartition("@")[2])
    if not place:
        raise ValueError(f"has a host that can't be read; an IPv6 address is written [::1]; {ESCAPES}")
    if place[1]:
        port_of(place[1])
    if scheme == "unix" and not path:
        raise ValueError("names no socket; write unix:///path/to/redis.sock")
    if scheme != "unix" and path and not re.fullmatch(r"\d{1,5}/?", path):
        raise ValueError(f"has a database that is no number; in {EXAMPLE}, it is 0")
    _check_parameters(query, has_tls=scheme == "rediss")


def _check_parameters(query: str, *, has_tls: bool) -> None:
    for name, value in parse_qsl(query, keep_blank_values=True):
        allowed = {**_KNOWN, **_TLS}.get(name)
        if allowed is None:
            raise ValueError(f"has the parameter {name[:40]!r}, which is not known; remove it")
        if name in _TLS and not has_tls:
            raise ValueError(f"has the parameter {name!r}, which needs rediss:// at the beginning")
        if not re.fullmatch(allowed, value):
            raise ValueError(f"has a value of {name!r} that can't be read; correct or remove it")
        if name in _FILES:
            check_file(name, value, is_key=name == "ssl_keyfile")
    given = dict(parse_qsl(query))
    if "ssl_certfile" in given and "ssl_keyfile" in given:
        check_pair(given["ssl_certfile"], given["ssl_keyfile"])
    if (given.get("ssl_check_hostname", "").lower(), given.get("ssl_cert_reqs")) == ("true", "none"):
        raise ValueError("asks for ssl_check_hostname=true, which needs ssl_cert_reqs=required; correct one of them")


def redis_address(url: str) -> str:
    """Return where Redis is, such as `redis.example:6379/0`, without anything secret. The URL has been checked."""
    authority, path, query = parts_of(url)
    if url.startswith("unix:"):
        return f"/{path}"
    host, _, port = re.fullmatch(r"(\[.*\]|[^:]*)(:?)(.*)", authority.rpartition("@")[2]).groups()  # type: ignore[union-attr]  # it always matches
    database = dict(parse_qsl(query)).get("db") or path.strip("/")
    return f"{unquote(host) or 'localhost'}:{port or 6379}/{database or 0}"
