"""What tests stand on: real Postgres and Valkey, a migrated database per test, a fixed cast of users.

alice has 20 credits, bob has 20 too and must never see anything of alice's, rich has 100,000.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import asyncpg
import httpx
import pytest
import structlog

from tallyframe.commands.users import add_user
from tallyframe.db import ADMIN_ROLE, WEBHOOKS_ROLE, WORKER_ROLE, Database
from tallyframe.embedded import Servers, servers as run_servers
from tallyframe.main import create_app
from tallyframe.migrate import migrate
from tallyframe.outbox.relay import JobQueue, connect
from tallyframe.servers.postgres_url import Address
from tallyframe.settings import Settings, load_settings
from tests.support import pgbouncer
from tests.support.cast import Member
from tests.support.processes import Processes
from tests.support.ramdisk import fast_folder
from tests.support.remains import World
from tests.support.working import Bench

TEMPLATE = "tallyframe_template"

# By default structlog has rich draw each traceback with all its variables: a second of work per bug in a test.
_plain = structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback)
structlog.configure(processors=[*structlog.get_config()["processors"][:-1], _plain])

#: Whoever runs the tests may have a key set; none of them may use it.
for _name in ("GEMINI_API_KEY", "GOOGLE_API_KEY", "CLOUDINARY_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
    os.environ.pop(_name, None)


#: Folders with the files that take longest: side by side, they come first, so that none is left for the end.
LONGEST = ("reliability", "contract", "vendors", "chaos", "cli", "docs", "generations", "embedded")


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if hasattr(config, "workerinput"):  # we are one of the processes of `pytest -n`
        items.sort(key=lambda item: [*LONGEST, item.path.parent.name].index(item.path.parent.name))


@pytest.fixture(scope="session")
async def servers() -> AsyncIterator[Servers]:
    """A Postgres and a Valkey; with `pytest -n`, each process has its own."""
    with fast_folder() as folder:
        async with run_servers(folder, durable=False) as both:
            yield both


@pytest.fixture(scope="session")
async def pooler(servers: Servers) -> AsyncIterator[int | None]:
    """The port of a PgBouncer between processes and Postgres, if TEST_PGBOUNCER is set: `TEST_PGBOUNCER=1 pytest …`."""
    if not os.environ.get("TEST_PGBOUNCER"):
        yield None
        return
    async with pgbouncer.running(servers.database_url, server_login_retry="0.1") as port:
        yield port


@pytest.fixture(scope="session")
async def template(servers: Servers, pooler: int | None) -> str:
    """The name of a migrated, empty database."""
    async with owner_of(servers.database_url) as owner:
        await owner.execute(f"CREATE DATABASE {TEMPLATE}")
    await asyncio.to_thread(migrate, with_database(servers.database_url, TEMPLATE))
    if pooler:
        async with owner_of(servers.database_url) as owner:
            await pgbouncer.make_logins(owner)
    return TEMPLATE


_count = iter(range(1_000_000))


@pytest.fixture
async def database_url(servers: Servers, template: str) -> AsyncIterator[str]:
    """A fresh migrated database of its own."""
    name = f"test_{next(_count)}"
    async with copy_of(template, servers, name) as url:
        yield url


@pytest.fixture
async def redis_url(servers: Servers) -> str:
    """The Valkey, emptied."""
    from redis.asyncio import Redis

    async with Redis.from_url(servers.redis_url) as redis:
        await redis.flushall()
    return servers.redis_url


@pytest.fixture
def settings(database_url: str, redis_url: str, tmp_path: Path, pooler: int | None) -> Settings:
    return load_settings(
        database_url=database_url,
        pooler_url=pgbouncer.pooled(database_url, pooler) if pooler else "",
        redis_url=redis_url,
        data_dir=tmp_path / "data",
        public_url="http://testserver",
        lease_seconds=3,
        heartbeat_seconds=1,
        metrics_max_age=0,
        tag_memory_seconds=0,  # what a test changes is there at once
        database_pool_size=8,
    )


@pytest.fixture
async def db(settings: Settings) -> AsyncIterator[Database]:
    async with acting_as(ADMIN_ROLE, settings) as database:
        yield database


@pytest.fixture
async def worker_db(settings: Settings) -> AsyncIterator[Database]:
    async with acting_as(WORKER_ROLE, settings) as database:
        yield database


@pytest.fixture
async def webhooks_db(settings: Settings) -> AsyncIterator[Database]:
    """As a worker sees the database while it applies webhooks."""
    async with acting_as(WEBHOOKS_ROLE, settings) as database:
        yield database


@pytest.fixture
async def owner(database_url: str) -> AsyncIterator["asyncpg.Connection[asyncpg.Record]"]:
    """A plain connection as the login role, which owns the tables."""
    async with owner_of(database_url) as connection:
        yield connection


@pytest.fixture
async def redis(settings: Settings) -> AsyncIterator[JobQueue]:
    """A connection to Redis, as the processes have it."""
    connection = connect(settings.server.redis_url.get_secret_value())
    yield connection
    await connection.aclose(close_connection_pool=True)


@pytest.fixture
def world(owner: Any, settings: Settings) -> World:
    """The tables and the media folder, to compare before and after."""
    return World(owner, settings)


ClientFor = Callable[[str | None], httpx.AsyncClient]


@asynccontextmanager
async def serving(settings: Settings) -> AsyncIterator[ClientFor]:
    """Serve the app in this process; the block gets a function from API key to client."""
    app = create_app(settings)
    async with AsyncExitStack() as stack, app.router.lifespan_context(app):

        def client_for(key: str | None) -> httpx.AsyncClient:
            headers = {"Authorization": f"Bearer {key}"} if key else {}
            transport = httpx.ASGITransport(app=app, raise_app_exceptions=False)
            client = httpx.AsyncClient(transport=transport, base_url="http://testserver", headers=headers)
            stack.push_async_callback(client.aclose)
            return client

        yield client_for


@pytest.fixture
async def client_for(settings: Settings) -> AsyncIterator[ClientFor]:
    async with serving(settings) as make:
        yield make


@pytest.fixture
async def anybody(client_for: ClientFor) -> httpx.AsyncClient:
    """Somebody who hasn't signed in."""
    return client_for(None)


async def enroll(db: Database, client_for: ClientFor, email: str, credits_given: int, *, admin: bool = False) -> Member:
    user, key = await add_user(db, email, admin=admin, member=False, credits_given=credits_given, signup_credits=0)
    return Member(user, key, client_for(key))


@pytest.fixture
async def alice(db: Database, client_for: ClientFor) -> Member:
    return await enroll(db, client_for, "alice@example.com", 20)


@pytest.fixture
async def bob(db: Database, client_for: ClientFor) -> Member:
    return await enroll(db, client_for, "bob@example.com", 20)


@pytest.fixture
async def rich(db: Database, client_for: ClientFor) -> Member:
    return await enroll(db, client_for, "rich@example.com", 100_000)


@pytest.fixture
async def bench(settings: Settings, worker_db: Database) -> AsyncIterator[Bench]:
    """Runs generations in this process, as a worker would."""
    workbench = Bench(settings, worker_db)
    yield workbench
    await workbench.end_all()


@pytest.fixture
async def processes(settings: Settings) -> AsyncIterator[Processes]:
    """Starts real API and worker processes, and ends them."""
    started = Processes(settings)
    yield started
    await started.end_all()


@asynccontextmanager
async def acting_as(role: str, settings: Settings, *, goes_past_pooler: bool = False) -> AsyncIterator[Database]:
    url = Address(settings.server.database_url.get_secret_value()) if goes_past_pooler else settings.server.traffic
    database = Database(url, role=role, pool_size=8, statement_timeout=15)
    yield database
    await database.close()


@asynccontextmanager
async def copy_of(template: str, servers: Servers, name: str) -> AsyncIterator[str]:
    """Make the database for the block, file by file: through the log it would take longer, and fill the memory."""
    async with owner_of(servers.database_url) as owner:
        await owner.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY FILE_COPY")
    yield with_database(servers.database_url, name)
    async with owner_of(servers.database_url) as owner:
        await owner.execute(f"DROP DATABASE {name} WITH (FORCE)")


@asynccontextmanager
async def owner_of(url: str) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
    connection = await asyncpg.connect(url)
    try:
        yield connection
    finally:
        await connection.close()


def with_database(url: str, name: str) -> str:
    return urlsplit(url)._replace(path=f"/{name}").geturl()
