"""The parameters of `TALLYFRAME_DATABASE_URL`: which are kept, which do no harm, and which can't be kept.

They are those of PostgreSQL's manual, section "Parameter Key Words".
"""

import re
from collections.abc import Mapping
from urllib.parse import parse_qsl

from tallyframe.servers.parts import check_file, check_pair

#: asyncpg reads these out of a URL only; it takes them as libpq does.
TLS_FILES = ("sslrootcert", "sslcert", "sslkey", "sslcrl")
TLS = (*TLS_FILES, "sslpassword", "sslnegotiation", "ssl_min_protocol_version", "ssl_max_protocol_version")
_MODES = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
#: asyncpg takes these as arguments.
ARGUMENTS = ("passfile", "krbsrvname", "gsslib", "target_session_attrs")
#: These end in the server, under the same name.
SERVER = ("application_name", "options")
_PLACE = ("host", "port", "dbname", "user", "password")
#: Without these, a connection is no less safe: the server is asked to look after silent lines instead.
_HARMLESS = (
    *("keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "tcp_user_timeout"),
    *("sslcompression", "sslsni", "gssdelegation", "load_balance_hosts"),
)
_NO = ("0", "false", "off", "no", "")
#: Values that ask for nothing that we don't do anyway. Any other value asks for what we can't keep: it is refused.
_ONLY = {
    "gssencmode": ("disable", "prefer"),
    "channel_binding": ("disable", "prefer", "require"),
    "client_encoding": ("utf8", "utf-8", "unicode", "auto"),
    "target_session_attrs": ("any", "read-write", "primary"),
    "replication": _NO,
    "require_auth": ("",),
    "requirepeer": ("",),
    "sslcertmode": ("allow", "disable"),
    "sslnegotiation": ("postgres", "direct"),
    "gsslib": ("gssapi", "sspi"),
    "min_protocol_version": ("3.0",),  # that of Postgres, and not of TLS
    "max_protocol_version": ("3.0", "latest"),
}
#: libpq knows these, and asyncpg has nothing for them.
_NOT_SUPPORTED = {
    "requiressl": "use sslmode=require",
    "hostaddr": "name the address as the host",
    "service": "write into the URL what the service's file says",
    "servicefile": "write into the URL what the service's file says",
    "sslcrldir": "name one file with sslcrl",
    "sslkeylogfile": "remove it",
    "scram_client_key": "remove it",
    "scram_server_key": "remove it",
    "oauth_issuer": "use a password or a certificate",
    "oauth_client_id": "use a password or a certificate",
    "oauth_client_secret": "use a password or a certificate",
    "oauth_scope": "use a password or a certificate",
}
#: Versions of TLS, the oldest one first, as libpq and asyncpg write them. asyncpg begins with TLSv1.2 by itself.
_TLS_VERSIONS = ("TLSv1", "TLSv1.1", "TLSv1.2", "TLSv1.3")
_NUMBERS = ("connect_timeout",)
_KNOWN = {*TLS, *ARGUMENTS, *SERVER, *_PLACE, *_HARMLESS, *_ONLY, *_NUMBERS, "sslmode", "fallback_application_name"}


def parameters_of(query: str) -> dict[str, str]:
    """Return the parameters behind the `?`, each checked. Raises ValueError for one that can't be kept."""
    try:
        # A plus sign is itself here, as for libpq, and no space.
        given = dict(parse_qsl(query.replace("+", "%2B"), keep_blank_values=True, strict_parsing=bool(query)))
    except ValueError:
        raise ValueError("has something behind the '?' that is no name=value") from None
    if "ssl" in given:  # as JDBC and asyncpg write it
        value = given.pop("ssl")
        given.setdefault("sslmode", {"true": "require", "false": "disable"}.get(value.lower(), value))
    for name, value in given.items():
        if name in _NOT_SUPPORTED:
            raise ValueError(f"has the parameter {name!r}, which is not supported; {_NOT_SUPPORTED[name]}")
        if name not in _KNOWN:
            raise ValueError(f"has the parameter {name[:40]!r}, which is not known; remove it")
        if name in _ONLY and (value if name in {*ARGUMENTS, *TLS} else value.lower()) not in _ONLY[name]:
            can = ", ".join(each for each in _ONLY[name] if each)
            raise ValueError(
                f"asks for {name}={value[:40]}, which can't be kept; {f'use {can}, or ' * bool(can)}remove it"
            )
        if name in _NUMBERS and not re.fullmatch(r"-?\d{1,6}", value):
            raise ValueError(f"has a {name} that is no whole number of seconds")
        if name in TLS_FILES and (name, value) != ("sslrootcert", "system"):
            check_file(name, value, is_key=name == "sslkey")
    _check_tls(given)
    if "sslcert" in given and "sslkey" in given:
        check_pair(given["sslcert"], given["sslkey"], given.get("sslpassword", ""))
    return given


def _check_tls(given: Mapping[str, str]) -> None:
    if given.get("sslmode", "prefer") not in _MODES:
        raise ValueError(f"has an sslmode that is not known; known are: {', '.join(_MODES)}")
    if given.get("sslmode") in {"disable", "allow", "prefer"} and given.get("channel_binding") == "require":
        raise ValueError("asks for channel_binding=require, which needs sslmode=require or verify-full")
    if given.get("sslmode", "prefer") in {"disable", "allow", "prefer"} and given.get("sslnegotiation") == "direct":
        raise ValueError("asks for sslnegotiation=direct, which needs sslmode=require, verify-ca or verify-full")
    least, most = (given.get(f"ssl_{end}_protocol_version") or None for end in ("min", "max"))
    if {least, most} - {*_TLS_VERSIONS, None}:
        raise ValueError(f"has a version of TLS that is not known; known are: {', '.join(_TLS_VERSIONS)}")
    if most and _TLS_VERSIONS.index(least or "TLSv1.2") > _TLS_VERSIONS.index(most):
        raise ValueError(
            "has an ssl_max_protocol_version below the ssl_min_protocol_version, which is TLSv1.2 if unset"
        )
