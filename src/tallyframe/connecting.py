"""How connections to Postgres are opened: what the URL asks for, and what each of ours needs from its start."""

import asyncio
from collections.abc import Mapping
from functools import partial
from typing import Any

import asyncpg
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import NullPool

from tallyframe.servers.postgres_url import PostgresUrl

#: Seconds until a connection must be there, unless the URL has its own `connect_timeout`.
CONNECT_TIMEOUT = 5.0

#: Seconds that a statement of the API waits for a lock: it holds a connection meanwhile, which others wait for.
LOCK_PATIENCE = 3.0

#: Seconds that a connection which is thrown away has for it when whoever does so is canceled.
DISCARD_TIMEOUT = 2.0

#: Nobody else's tables come before ours.
SEARCH_PATH = "public, pg_temp"

#: So that Postgres notices within 30 s, and not after hours, that a machine is gone.
_KEEPALIVES = {"tcp_keepalives_idle": "15", "tcp_keepalives_interval": "5", "tcp_keepalives_count": "3"}


def session_settings(url: PostgresUrl, role: str, statement_timeout: float, lock_timeout: float) -> dict[str, str]:
    """Return what the server is told of each session: who it acts as, and for how many seconds it may be silent.

    `lock_timeout` in seconds, too: how long a statement waits for others. A pooler is told nothing: its connections are
    shared, and act as the role by themselves.
    """
    if url.is_pooled:
        return {}
    milliseconds = str(int(statement_timeout * 1000))
    return {
        "role": role,
        "search_path": SEARCH_PATH,
        "statement_timeout": milliseconds,
        "lock_timeout": str(int(lock_timeout * 1000)),
        "idle_in_transaction_session_timeout": milliseconds,
        **_KEEPALIVES,
    }


def make_engine(
    url: PostgresUrl,
    server_settings: Mapping[str, str],
    *,
    command_timeout: float | None = None,
    **more: Any,  # noqa: ANN401  # SQLAlchemy's own arguments
) -> AsyncEngine:
    """Return an engine whose connections follow the URL and these settings. It connects when it is first used.

    `command_timeout` in seconds, per statement; None: no limit. SQLAlchemy doesn't read the URL: it would hand libpq's
    parameters to asyncpg, which takes only some of them.
    """
    arguments = {"timeout": CONNECT_TIMEOUT, **url.arguments(server_settings), "command_timeout": command_timeout}
    connect = partial(asyncpg.connect, **arguments)
    return create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool, **more)


def check_of(role: str) -> str:
    """Return a statement that fails on a connection which acts as anybody else, or finds other tables before ours."""
    return f"""DO $$ BEGIN
        IF current_user <> '{role}' OR current_setting('search_path') <> '{SEARCH_PATH}' THEN
            RAISE EXCEPTION 'not our role' USING ERRCODE = 'invalid_authorization_specification';
        END IF;
    END $$"""


async def discard(connection: AsyncConnection) -> None:
    """Throw the connection away, to the end even if we are canceled meanwhile.

    SQLAlchemy closes it in a task of its own, to whose error nobody listens when its `invalidate` is cut off.
    """
    discarding = asyncio.create_task(connection.invalidate())
    try:
        await asyncio.shield(discarding)
    except asyncio.CancelledError:
        await asyncio.wait({discarding}, timeout=DISCARD_TIMEOUT)
        raise
