"""What `TALLYFRAME_DATABASE_URL` says: libpq's URL, with the parameters that libpq knows and asyncpg can keep.

The URLs of a pooler and of a replica are read in the same way.

The format is that of PostgreSQL's manual, section "Connection URIs"; the parameters are those of "Parameter Key Words".
No message quotes any part of the URL that may belong to the password.
"""

import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import unquote, urlencode

from tallyframe.servers.parts import ESCAPES, parts_of, port_of
from tallyframe.servers.postgres_parameters import ARGUMENTS, SERVER, TLS, parameters_of

DATABASE, POOLER, REPLICA = "TALLYFRAME_DATABASE_URL", "TALLYFRAME_POOLER_URL", "TALLYFRAME_REPLICA_URL"
#: Stands in the URL of a pooler for the role that a connection acts as: in the user, or in the database.
ROLE = "{role}"

EXAMPLE = "postgresql://user:password@host:5432/database"
#: An IPv6 address as the parameter `host` has it; before the path, it is in brackets (RFC 3986, section 3.2.2).
_SIX = re.compile(r"[0-9A-Fa-f]*:[0-9A-Fa-f:]*:[0-9A-Fa-f.%]*")
_HOST = re.compile(r"(?:\[(?P<six>[0-9A-Fa-f:.%]+)\]|(?P<host>[^\[\]:]*))(?::(?P<port>.*))?")


class Address(NamedTuple):
    """A URL, and the setting that it comes from."""

    url: str
    variable: str = DATABASE


@dataclass(frozen=True, slots=True)
class PostgresUrl:
    """Where a database is, and how to connect to it. Empty: libpq's default, or that of its variables (`PGHOST`, …)."""

    hosts: tuple[str, ...]
    ports: tuple[int, ...]
    user: str
    password: str = field(repr=False)
    database: str
    parameters: Mapping[str, str] = field(repr=False)
    variable: str = DATABASE
    is_pooled: bool = False  # what it leads to acts as our role by itself, and may be told nothing

    @property
    def address(self) -> str:
        """The hosts with their ports, such as `db.example:5432`; without anything secret."""
        places = zip(self.hosts, self.ports, strict=True)
        return ",".join(f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in places) or "localhost"

    @property
    def must_write(self) -> bool:
        """Whether a connection that can't write is of no use. A replica's never can.

        A pooler tells what it was told when it connected first, and has other connections for our next transaction.
        """
        return not (self.is_pooled or self.variable == REPLICA)

    def arguments(self, server_settings: Mapping[str, str]) -> dict[str, Any]:
        """Return the arguments for `asyncpg.connect`. `server_settings` win over those of the URL."""
        given = self.parameters
        named = {name: given[name] for name in SERVER if name in given}
        if "fallback_application_name" in given:
            named.setdefault("application_name", given["fallback_application_name"])
        ours: dict[str, Any] = {"server_settings": {"application_name": "tallyframe", **named, **server_settings}}
        ours |= {name: given[name] for name in ARGUMENTS if name in given}
        ours |= {"host": list(self.hosts), "port": list(self.ports)} if self.hosts else {}
        place = {"user": self.user, "password": self.password, "database": self.database}
        ours |= {name: value for name, value in place.items() if value}
        if int(given.get("connect_timeout", 0)) > 0:  # 0 and below mean "no limit" to libpq; ours stays
            ours["timeout"] = max(int(given["connect_timeout"]), 2)
        if self._trusts_the_system:
            ours["ssl"] = _verifying(given)
        elif tls := {name: given[name] for name in ("sslmode", *TLS) if name in given}:
            ours["dsn"] = f"postgresql://?{urlencode(tls)}"
        return ours

    @property
    def _trusts_the_system(self) -> bool:
        """Whether the server's certificate must come from an authority that this machine trusts, for its very name.

        asyncpg can't bind a login to its TLS connection. What `channel_binding=require` is for, that nobody stands in
        between, is then kept by the certificate.
        """
        given = self.parameters
        is_bound = given.get("channel_binding") == "require" and given.get("sslmode") != "verify-full"
        return given.get("sslrootcert") == "system" or is_bound


def _verifying(given: Mapping[str, str]) -> ssl.SSLContext:
    authorities = given.get("sslrootcert", "system")
    context = ssl.create_default_context(cafile=None if authorities == "system" else authorities)
    if certificate := given.get("sslcert"):
        context.load_cert_chain(certificate, given.get("sslkey"), lambda: given.get("sslpassword", ""))
    return context


def parse_postgres_url(address: str | Address, role: str = "") -> PostgresUrl:
    """Read the URL. Raises ValueError with what is wrong and what to do, and without anything secret.

    `role` is put where the URL of a pooler has `{role}`.
    """
    url, variable = address if isinstance(address, Address) else Address(address)
    is_pooled = ROLE in url
    if is_pooled and not role:
        raise ValueError(f"has {ROLE} in it, which only {POOLER} and {REPLICA} may have")
    url = url.replace(ROLE, role)
    scheme, separator, _ = url.partition("://")
    if not separator or scheme.split("+")[0].strip().lower() not in {"postgres", "postgresql"}:
        raise ValueError(f"must start with postgresql://, as in {EXAMPLE}")
    authority, path, query = parts_of(url)
    if "%00" in url:
        raise ValueError("has a %00 in it, which nothing that Postgres is told may hold; remove it")
    login, _, places = authority.rpartition("@")
    user, _, password = login.partition(":")
    given = parameters_of(query)
    hosts, ports = _places(given.get("host", ""), places, given.get("port", ""))
    database = given.get("dbname") or unquote(path)
    if not database:
        raise ValueError(f"names no database; put it behind the host, as in {EXAMPLE}")
    return PostgresUrl(
        hosts=hosts,
        ports=ports,
        user=given.get("user") or unquote(user),
        password=given.get("password") or unquote(password),
        database=database,
        parameters=given,
        variable=variable,
        is_pooled=is_pooled,
    )


def _places(named: str, authority: str, ports: str) -> tuple[tuple[str, ...], tuple[int, ...]]:
    """Return hosts and ports of a list such as `one:5432,[::1]`; an absolute path is the folder of a Unix socket.

    Those that the parameter `host` has named win over those of the authority.
    """
    hosts = named or authority
    found: list[tuple[str, int]] = []
    numbers = ports.split(",") if ports else [""]
    for number, place in enumerate(hosts.split(",") if hosts else []):
        is_whole = place.startswith("/") or (named and _SIX.fullmatch(place))
        parts = None if is_whole else _HOST.fullmatch(place)
        if not is_whole and not parts:
            raise ValueError(f"has a host that can't be read; an IPv6 address is written [::1]; {ESCAPES}")
        host = (parts["six"] or unquote(parts["host"])) if parts else place
        port = (parts["port"] if parts else "") or numbers[min(number, len(numbers) - 1)] or "5432"
        try:
            (host if not host.startswith("/") else "").encode("idna")
        except UnicodeError:
            raise ValueError("has a host that is no name: a part of it is empty or too long") from None
        found.append((host or "localhost", port_of(port)))
    return tuple(host for host, _ in found), tuple(port for _, port in found)
