"""Looks at a configuration from the outside: is everything there, does it answer, and what is to be done if not?

Nothing here costs anything at a vendor, and nothing is changed but that the folder of local media is made.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from dataclasses import dataclass
from math import inf

import httpx
import sqlalchemy as sa
from redis.exceptions import RedisError

from tallyframe.accounts.jwks import fetch_key_ids
from tallyframe.catalog import Capability
from tallyframe.commands.users import database
from tallyframe.db import ADMIN_ROLE, API_ROLE, WEBHOOKS_ROLE, WORKER_ROLE, Database
from tallyframe.db.replica import read_written, seconds_behind
from tallyframe.errors import ProviderError, Unavailable
from tallyframe.lost import DatabaseAway, NotMigrated
from tallyframe.migrate import read_revision
from tallyframe.operations.registry import price_list
from tallyframe.outbox.relay import WAKE_UP, connect
from tallyframe.providers.base import Provider, Providers
from tallyframe.providers.registry import build_providers, close_providers
from tallyframe.redaction import hidden
from tallyframe.servers.postgres_url import DATABASE, POOLER, REPLICA, Address
from tallyframe.servers.words import redis_words
from tallyframe.settings import Settings
from tallyframe.settings.model import THIS_MACHINE
from tallyframe.storages.base import StorageError
from tallyframe.storages.registry import build_storages
from tallyframe.workers.heartbeat import present

#: Seconds that each check may take.
PATIENCE = 20.0


class Sick(Exception):
    """A check that failed. The message says what was found and what to do."""


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found."""

    name: str
    is_well: bool
    words: str


Check = Callable[[], Awaitable[str]]
Names = Sequence[str]  # what a check is about; usually one thing


async def examine(settings: Settings) -> AsyncIterator[Finding]:
    """Make every check that the settings call for, all at once, and yield the findings in order.

    Raises SettingsError for prices of operations that aren't there.
    """
    price_list(settings)
    providers, storages = build_providers(settings), build_storages(settings)
    checks: list[tuple[Names, Check]] = [
        (["postgres"], lambda: _postgres(settings)),
        (["redis"], lambda: _redis(settings)),
        *([(["pooler"], lambda: _pooler(settings))] if settings.variable(POOLER) else []),
        *([(["replica"], lambda: _replica(settings))] if settings.variable(REPLICA) else []),
        (["workers"], lambda: _workers(settings)),
        *(([f"storage {storage.name}"], storage.probe) for storage in storages.by_name.values()),
        *_providers(providers),
        *_sign_in(settings),
        *_digests(settings),
        (["addresses"], lambda: _addresses(settings)),
        (["patience"], lambda: _patience(settings)),
    ]
    try:
        for findings in await asyncio.gather(*(_find(names, check) for names, check in checks)):
            for finding in findings:
                yield finding
    finally:
        await close_providers(providers)
        for storage in storages.by_name.values():
            await storage.aclose()


async def _find(names: Names, check: Check) -> list[Finding]:
    """Make a check once, and return what it found under each of its names."""
    is_well = False
    try:
        async with asyncio.timeout(PATIENCE):
            words, is_well = await check(), True
    except (Sick, StorageError) as error:
        words = hidden(str(error))
    except TimeoutError:
        words = f"No answer within {PATIENCE:g} s. Is the address right, and open?"
    except Exception as error:  # noqa: BLE001  # a mistake in one setting must not hide what the others have
        words = hidden(f"{type(error).__name__}: {error}")[:500]
    return [Finding(name, is_well=is_well, words=words) for name in names]


async def _postgres(settings: Settings) -> str:
    try:
        async with database(settings.server.database_url.get_secret_value()) as db:
            version = (await db.run(sa.text("SHOW server_version"))).scalar_one()
            is_read_only = (await db.run(sa.text("SHOW transaction_read_only"))).scalar_one() == "on"
            revision = await read_revision(db.run)
    except NotMigrated:
        raise Sick("It has not been migrated. Run `tallyframe migrate`.") from None
    except DatabaseAway as error:
        raise Sick(error.words) from None
    if is_read_only:
        raise Sick("It takes no writes: it is a standby or set to read-only. Name the primary, or make it writable.")
    if not revision.is_current:
        raise Sick(f"Its migrations are at {revision.found}, and this version needs {revision.needed}. Migrate it.")
    return f"{version}, migrations at {revision.found}"


async def _pooler(settings: Settings) -> str:
    """Work as each role, as API and workers do; through connections that change between two statements."""
    try:
        async with database(settings.server.database_url.get_secret_value()) as straight:
            here = (await straight.run(_WHERE)).one()
        for role in (API_ROLE, ADMIN_ROLE, WORKER_ROLE, WEBHOOKS_ROLE):
            db = Database(settings.server.traffic, role=role, pool_size=2, statement_timeout=PATIENCE)
            try:
                await check_pooled(db, here, settings.server.statement_timeout)
            finally:
                await db.close()
    except DatabaseAway as error:
        raise Sick(error.words) from None
    return f"{db.url.address}, as each of our roles"


async def check_pooled(db: Database, here: object, statement_timeout: float) -> None:
    """Raise Sick for another database, and for a login without our timeouts."""
    async with db.reading() as reader:
        if (await reader.execute(_WHERE)).one() != here:
            raise Sick(f"It leads to another database than {DATABASE}.")
        async with db.transaction() as other:  # it takes the connection that our statement was prepared on
            await other.execute(_WHERE)
            await reader.execute(_WHERE)
        timeouts = {name: int(value) for name, value in await reader.execute(_TIMEOUTS)}
    for name, milliseconds in timeouts.items():
        if not 0 < milliseconds <= statement_timeout * 1000:
            found = f"{milliseconds / 1000:g} s" if milliseconds else "not set"
            words = f"{db.url.user!r} has a {name} that is {found}. Set it for that login to {statement_timeout:g} s"
            raise Sick(f"{words}, as {STATEMENT_TIMEOUT} is, or less: docs/poolers.md.")


#: A database: when its server was started, and its number there.
_WHERE = sa.text("SELECT pg_postmaster_start_time(), oid FROM pg_database WHERE datname = current_database()")
_TIMEOUTS = sa.text(
    "SELECT name, setting FROM pg_settings "
    "WHERE name IN ('statement_timeout', 'lock_timeout', 'idle_in_transaction_session_timeout')"
)
STATEMENT_TIMEOUT = "TALLYFRAME_STATEMENT_TIMEOUT"


async def _replica(settings: Settings) -> str:
    address, most = Address(settings.variable(REPLICA), REPLICA), settings.server.replica_max_lag
    db = Database(address, role=ADMIN_ROLE, pool_size=1, statement_timeout=PATIENCE)
    try:
        async with database(settings.server.database_url.get_secret_value()) as primary:
            system, other = [(await each.run(_SYSTEM)).scalar_one() for each in (primary, db)]
            lag = await seconds_behind(db, await read_written(primary))
    except DatabaseAway as error:
        raise Sick(error.words) from None
    finally:
        await db.close()
    if lag == inf or system != other:
        raise Sick(f"It is no replica of {DATABASE}, so it is not read. Name a streaming replica of that server.")
    if lag > most:
        raise Sick(
            f"It is {lag:.0f} s behind, and TALLYFRAME_REPLICA_MAX_LAG is {most:g}: the primary is read instead."
        )
    return f"{db.url.address}, {lag:.1f} s behind"


#: What a server and its replicas have in common.
_SYSTEM = sa.text("SELECT system_identifier FROM pg_control_system()")


async def _redis(settings: Settings) -> str:
    redis = connect(settings.server.redis_url.get_secret_value())
    try:
        await redis.getdel(f"{WAKE_UP}:doctor")  # workers need this command, which Redis has since 6.2
    except (RedisError, OSError) as error:
        raise Sick(redis_words(error, redis.address)) from None
    finally:
        await redis.aclose(close_connection_pool=True)
    return "it answers"


async def _workers(settings: Settings) -> str:
    try:
        async with database(settings.server.database_url.get_secret_value()) as db:
            names = await present(db)
    except Unavailable:
        raise Sick("Postgres, where they show their signs of life, can't be asked: see above.") from None
    if not names:
        raise Sick("No worker has shown a sign of life lately. Start `tallyframe worker`.")
    return f"{len(names)} alive"


def _providers(providers: Providers) -> Iterator[tuple[Names, Check]]:
    """Yield a check for each model in use; one that serves several capabilities is asked for once."""
    used: dict[tuple[str, str], list[Capability]] = {}
    named = {provider.name: provider for serving in providers.values() for provider in serving}
    for capability, serving in providers.items():
        for provider in serving:
            used.setdefault((provider.name, provider.offers[capability].model), []).append(capability)
    for (name, model), capabilities in used.items():
        yield [f"provider {name} ({each})" for each in capabilities], _probe(named[name], model, capabilities[0])


def _probe(provider: Provider, model: str, capability: Capability) -> Check:
    async def check() -> str:
        try:
            return f"{model}: {await provider.probe(capability)}"
        except ProviderError as error:
            raise Sick(f"{model}: {error.operator_message or error.message}") from None

    return check


def _sign_in(settings: Settings) -> Sequence[tuple[Names, Check]]:
    if not settings.auth.issuer or not settings.auth.keys_url:
        return []

    async def check() -> str:
        try:
            ids = await fetch_key_ids(settings.auth.keys_url)
        except (httpx.HTTPError, TimeoutError, ValueError) as error:
            words = f"{settings.auth.keys_url} gives no keys ({type(error).__name__}: {error})."
            raise Sick(f"{words} Check TALLYFRAME_AUTH_ISSUER and TALLYFRAME_AUTH_JWKS_URL.") from None
        return f"{len(ids)} key{'s' if len(ids) > 1 else ''} of {settings.auth.issuer}"

    return [(["sign-in"], check)]


def _digests(settings: Settings) -> Sequence[tuple[Names, Check]]:
    async def check() -> str:
        if problems := settings.money.folder_problems():
            raise Sick(problems[0])
        return f"{settings.money.digest_dir} can be written to, here and by this user"

    return [(["digests"], check)] if settings.money.digest_dir else []


async def _patience(settings: Settings) -> str:
    grace, timeout = settings.workers.shutdown_grace, settings.providers.timeout
    if grace <= timeout:
        words = "TALLYFRAME_SHUTDOWN_GRACE is not above TALLYFRAME_PROVIDER_TIMEOUT: a deploy can cut an order that is"
        raise Sick(f"{words} under way, which is then in doubt and refunded.")
    return f"a stopping worker waits {grace:g} s, a call takes {timeout:g} s at most"


async def _addresses(settings: Settings) -> str:
    local = httpx.URL(settings.server.public_url).host in THIS_MACHINE
    if settings.server.env == "production" and local:
        raise Sick(f"TALLYFRAME_PUBLIC_URL is {settings.server.public_url}, which no user's browser can reach.")
    return settings.server.public_url
