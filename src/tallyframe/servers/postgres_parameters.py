"""The parameters of `TALLYFRAME_DATABASE_URL`: which are kept, which do no harm, and which can't be kept.

They are those of PostgreSQL's manual, section "Parameter Key Words".
"""

import re
from pathlib import Path
from urllib.parse import parse_qsl

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
}
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
        if name not in _KNOWN:
            raise ValueError(f"has the parameter {name[:40]!r}, which is not known; remove it")
        if name in _ONLY and value.lower() not in _ONLY[name]:
            can = ", ".join(each for each in _ONLY[name] if each)
            raise ValueError(
                f"asks for {name}={value[:40]}, which can't be kept; {f'use {can}, or ' * bool(can)}remove it"
            )
        if name in _NUMBERS and not re.fullmatch(r"-?\d{1,6}", value):
            raise ValueError(f"has a {name} that is no whole number of seconds")
        if name in TLS_FILES and (name, value) != ("sslrootcert", "system") and not Path(value).is_file():
            raise ValueError(f"has a {name} of {value[:200]!r}, and there is no such file")
    if given.get("sslmode", "prefer") not in _MODES:
        raise ValueError(f"has an sslmode that is not known; known are: {', '.join(_MODES)}")
    if given.get("sslmode") in {"disable", "allow", "prefer"} and given.get("channel_binding") == "require":
        raise ValueError("asks for channel_binding=require, which needs sslmode=require or verify-full")
    return given
