"""Errors of Postgres and Redis, in one line for operators: which variable it is about, what was found, what to do.

SQLSTATEs are those of PostgreSQL's manual, appendix "PostgreSQL Error Codes". Users of the API never read these lines.
"""

import re
from collections.abc import Iterator, Mapping

from tallyframe.redaction import hidden
from tallyframe.servers.postgres_url import DATABASE, PostgresUrl

REDIS = "TALLYFRAME_REDIS_URL"

_KEEPS_NO_STATEMENTS = (
    "is a pooler that keeps no prepared statements. PgBouncer does from 1.21 on, with max_prepared_statements above 0"
)
#: By the beginning of the SQLSTATE, the longer one first: what Postgres does, and what to do. `{user}` and `{database}`
#: are those of the URL.
_SAID_BY_POSTGRES = {
    "28P01": "refuses the password of {user}. Correct user and password",
    "28": "refuses the login of {user}. Correct user and password, or let that user in (pg_hba.conf)",
    "3D000": "has no database {database}. Make it with CREATE DATABASE, or correct the name",
    "22": "doesn't take a value of the `options` of the URL. Correct it",
    "42P01": "has not been migrated. Run `tallyframe migrate`",
    "42883": "has not been migrated by this version. Run its `tallyframe migrate`",
    "42501": "does not allow {user} to do this. Grant that login its roles: docs/operations.md, Roles",
    "08P01": "is a pooler that can't do this, or can't reach Postgres. Look into its log",
    "26": _KEEPS_NO_STATEMENTS,
    "42P05": _KEEPS_NO_STATEMENTS,
    "42601": "doesn't understand the `options` of the URL. Write them as -c%20name%3Dvalue",
    "42704": "doesn't know one of the `options` of the URL. Correct them",
    "53100": "has no room left on its disk. Make room there",
    "53300": "has no connection left. Raise its max_connections, or lower TALLYFRAME_DATABASE_POOL_SIZE",
    "53": "lacks memory or another resource. Look into its log",
    "25P": "has ended a transaction that took too long. Look for what keeps it busy",
    "25006": "takes no writes: it is a standby or set to read-only. Name the primary, or make it writable",
    "58": "can't read or write its files. Look into its log",
    "57014": "took too long for a statement. Look for what keeps it busy, or raise TALLYFRAME_STATEMENT_TIMEOUT",
    "40": "has ended a transaction that was in the way of others. Try it again",
    "57P04": "has dropped the database {database}. Restore it, or correct the name",
    "57P05": "has closed a session that was unused. Raise its idle_session_timeout",
    "57P03": "is starting, stopping or recovering. Wait until it is ready",
    "57P": "has closed the connection. Look whether it has been stopped",
    "57": "has stopped this by order of an operator. Look into its log",
}
#: By words of Postgres that tell more than their SQLSTATE.
_SAID_IN_DETAIL = {
    r"role .*tallyframe_\w+.* does not exist": "has not been migrated. Run `tallyframe migrate`",
    "permission denied to set role": "does not allow {user} to act as our roles. Grant them: docs/operations.md, Roles",
    "not our role": "doesn't let {user} act as our role, with our search_path. Set both there: docs/poolers.md",
    "unsupported startup parameter": "is a pooler, which doesn't take our settings. Name Postgres itself here, and the "
    "pooler in TALLYFRAME_POOLER_URL: docs/poolers.md",
    "query_wait_timeout|no more connections allowed": "is a pooler without a free connection. Raise its "
    "default_pool_size or max_client_conn",
    "no pg_hba.conf entry.*no encryption": "asks for TLS. Add ?sslmode=require to the URL",
}
#: By names and words of what the network or a driver raises, for either server. The first one that fits counts.
_SAID_BY_DRIVERS = {
    "gaierror|not known|name resolution|No address": "can't be found: the name of the host is unknown here. "
    "Correct it, or the name service",
    "No such file|FileNotFoundError": "can't be reached: there is no such socket or file. "
    "Start it, or correct the path",
    "NOPERM|NoPermission": "does not allow this user to do this. Let it use the keys `tallyframe:*` and `arq:*` (ACL)",
    "Permission denied|PermissionError": "can't be reached: this user may not open its socket. "
    "Correct the path, or the rights",
    "refused|Connect call failed|Errno 111|Errno 61": "can't be reached: nothing listens there. "
    "Start it, or correct host and port",
    "rejected SSL upgrade": "does not offer TLS. Take sslmode out of the URL, or turn on TLS there",
    "CERTIFICATE_VERIFY_FAILED|certificate verify failed|Hostname mismatch": "has a certificate that can't "
    "be verified. Name its authority in the URL (sslrootcert for Postgres, ssl_ca_certs for Redis)",
    "KEY_VALUES_MISMATCH|BAD_DECRYPT|bad decrypt|bad password read|PEM lib|_PEM_": "is to be shown a certificate that "
    "doesn't fit its key, or whose key can't be opened. Correct the certificate, the key or the key's password",
    "WRONG_VERSION_NUMBER|record layer|SSL|TLS": "and this process can't agree about TLS. Look whether TLS is on there",
    "root certificate file": "is to be verified, and its authority's file is missing. Add sslrootcert=FILE to the URL",
    "target attribute": "is not what target_session_attrs asks for. Name the primary, or take that parameter out",
    "WRONGPASS|NOAUTH|AUTH |invalid password|username-password|AuthenticationError": "refuses the login. "
    "Correct user and password",
    "DB index|Invalid Database": "has no database of that number. Correct it; 0 is always there",
    "READONLY": "takes no writes: it is a replica. Name the primary",
    "OOM ": "has no memory left. Raise its maxmemory",
    "LOADING|BusyLoading": "is starting. Wait until it is ready",
    "unknown command": "is too old. Redis 6.2 or newer is needed",
    "imed out|imeout": "gives no answer in time. Look whether it is overloaded, whether a firewall is in between, and "
    "whether TLS is on there (sslmode for Postgres, rediss:// for Redis)",
    "closed|reset|onnection lost|Broken pipe|EOF": "has closed the connection. Look into its log, and "
    "whether TLS is on there (sslmode for Postgres, rediss:// for Redis)",
}


def postgres_words(error: BaseException, url: PostgresUrl | None = None) -> str:
    """Return one line about an error of a connection or statement, which starts with the variable's name."""
    text = _text_of(error)
    states = [str(state) for each in causes(error) if (state := getattr(each, "sqlstate", None))]
    by_state = (said for start, said in _SAID_BY_POSTGRES.items() if any(state.startswith(start) for state in states))
    said = _matching(_SAID_IN_DETAIL, text) or next(by_state, None) or _by_drivers(error, text)
    user = repr(url.user) if url and url.user else "this user"
    database = repr(url.database) if url else "of that name"
    place = f"Postgres at {url.address}" if url else "Postgres"
    return (
        f"{url.variable if url else DATABASE}: {place} {said.replace('{user}', user).replace('{database}', database)}."
    )


def redis_words(error: BaseException, address: str) -> str:
    """Return one line about an error of redis-py, which starts with the variable's name."""
    return f"{REDIS}: Redis at {address} {_by_drivers(error, _text_of(error))}."


def _by_drivers(error: BaseException, text: str) -> str:
    *_, innermost = causes(error)  # SQLAlchemy's words around it help nobody
    first, *_ = hidden(str(innermost)).splitlines() or [""]
    return _matching(_SAID_BY_DRIVERS, text) or (
        f"can't be used ({type(innermost).__name__}: {first[:200]}). Look into its log"
    )


def _matching(said: Mapping[str, str], text: str) -> str | None:
    return next((words for pattern, words in said.items() if re.search(pattern, text)), None)


def causes(error: BaseException) -> Iterator[BaseException]:
    """Yield the error and what it was made from, the last one first: `orig` is SQLAlchemy's word for that."""
    seen: BaseException | None = error
    while seen is not None:
        yield seen
        seen = getattr(seen, "orig", None) or seen.__cause__


def _text_of(error: BaseException) -> str:
    """Return all names and words of the error and its causes, in one line."""
    return " ".join(f"{type(each).__name__} {each}" for each in causes(error)).replace("\n", " ")
