"""Who might falsify the books by SQL: the role of API and workers, the tables' owner, a superuser."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote, urlsplit

import asyncpg

from tallyframe.db import ADMIN_ROLE, API_ROLE, WEBHOOKS_ROLE, WORKER_ROLE

#: The roles that API and workers act as.
APP_ROLES = (API_ROLE, WORKER_ROLE, ADMIN_ROLE, WEBHOOKS_ROLE)
OWNER, PASSWORD = "books_owner", "books-owner"  # a login that owns the tables, and is no superuser

OTHER = "somebody_else"  # a role that may do nothing
MAKE_OTHER = f"""
    DO $$ BEGIN CREATE ROLE {OTHER};
    EXCEPTION WHEN duplicate_object THEN RAISE NOTICE 'there already'; END $$"""
_MAKE_OWNER = f"""
    DO $$ BEGIN CREATE ROLE {OWNER} LOGIN PASSWORD '{PASSWORD}';
    EXCEPTION WHEN duplicate_object THEN RAISE NOTICE 'there already'; END $$"""
_HAND_OVER = f"""
    DO $$ DECLARE thing text; BEGIN
        EXECUTE format('ALTER DATABASE %I OWNER TO {OWNER}', current_database());
        EXECUTE 'ALTER SCHEMA public OWNER TO {OWNER}';
        FOR thing IN SELECT format('TABLE public.%I', tablename) FROM pg_tables WHERE schemaname = 'public'
                     UNION ALL
                     SELECT format('FUNCTION %s', oid::regprocedure) FROM pg_proc
                     WHERE pronamespace = 'public'::regnamespace
        LOOP EXECUTE format('ALTER %s OWNER TO {OWNER}', thing); END LOOP;
        FOR thing IN SELECT tablename FROM pg_policies WHERE policyname = 'bookkeeping'
        LOOP EXECUTE format('ALTER POLICY bookkeeping ON %I TO {OWNER}', thing); END LOOP;
    END $$"""  # noqa: S608  # a constant of ours


@asynccontextmanager
async def app(url: str, role: str) -> AsyncIterator[Any]:
    """Yield a connection that acts as API and workers do."""
    async with _connected(url) as connection:
        await connection.execute(f"SET ROLE {role}")
        yield connection


@asynccontextmanager
async def owner(url: str) -> AsyncIterator[Any]:
    """Yield a connection of a login that owns everything in the database, and nothing else."""
    async with _connected(url) as superuser:
        await superuser.execute(_MAKE_OWNER)
        await superuser.execute(MAKE_OTHER)
        await superuser.execute(f"GRANT {OTHER} TO {OWNER} WITH INHERIT FALSE")
        await superuser.execute(f"GRANT CREATE ON SCHEMA public TO {OTHER}")
        await superuser.execute(_HAND_OVER)
    parts = urlsplit(url)
    async with _connected(
        parts._replace(netloc=f"{OWNER}:{quote(PASSWORD)}@{parts.hostname}:{parts.port}").geturl()
    ) as it:
        assert not await it.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        yield it


@asynccontextmanager
async def superuser(url: str) -> AsyncIterator[Any]:
    """Yield a connection of a superuser, for whom ordinary triggers and foreign keys are off."""
    async with _connected(url) as connection:
        assert await connection.fetchval("SELECT rolsuper FROM pg_roles WHERE rolname = current_user")
        await connection.execute("SET session_replication_role = replica")
        yield connection


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[Any]:
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()
