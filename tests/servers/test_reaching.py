"""A server that can't be used: each command says in one line which variable it is about, what was found, what to do."""

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import sqlalchemy as sa

from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.doctor import examine
from tallyframe.embedded import Servers
from tallyframe.lost import DatabaseAway
from tallyframe.outbox.relay import REDIS_AWAY, WAKE_UP, JobQueue, connect, put_wake_up, take_wake_up
from tallyframe.servers.words import redis_words
from tallyframe.settings import load_settings
from tests.conftest import owner_of, with_database
from tests.support.certificates import Certificates, certificates
from tests.support.commanding import command
from tests.support.processes import free_port
from tests.support.tls_proxy import tls_proxy

COMMANDS = [("migrate",), ("ledger", "verify"), ("ledger", "digest"), ("user", "add", "ada@example.com")]


def changed(url: str, **parts: str) -> str:
    """The URL with another user, password, host or port, as they are named here."""
    old = urlsplit(url)
    new = {"user": old.username, "password": old.password, "host": old.hostname, "port": old.port} | parts
    return old._replace(netloc=f"{new['user']}:{new['password']}@{new['host']}:{new['port']}").geturl()


@pytest.fixture(
    params=[
        "refused",
        "unknown",
        "password",
        "login",
        "database",
        "tls",
        "socket",
        "certificate",
        "options",
        "command",
        "quote",
    ]
)
async def bad(request: pytest.FixtureRequest, servers: Servers) -> tuple[str, str]:
    """A URL by which Postgres can't be used, and what is to be said about it."""
    url = servers.database_url
    kinds = {
        "refused": (changed(url, port=str(free_port())), "nothing listens there. Start it, or correct host and port"),
        "unknown": (changed(url, host="nowhere.invalid"), "the name of the host is unknown here"),
        "password": (changed(url, password="geheim-4711"), "refuses the password of 'tallyframe'"),
        "login": (changed(url, user="nobody", password="geheim-4711"), "refuses the password of 'nobody'"),
        "database": (with_database(url, "absent"), "has no database 'absent'"),
        "tls": (f"{url}?sslmode=require", "does not offer TLS"),
        "socket": (f"{url}?host=/nowhere", "there is no such socket"),
        "certificate": (f"{url}?sslmode=verify-full", "its authority's file is missing"),
        "options": (f"{url}?options=-c%20nonsense%3D1", "doesn't know one of the `options`"),
        "command": (f"{url}?options=-Z", "doesn't understand the `options` of the URL"),
        "quote": (f"{url}?options=%27", "doesn't understand the `options` of the URL"),
    }
    return kinds[request.param]


def test_each_command_says_so_in_one_line(bad: tuple[str, str], capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in COMMANDS:
        said = command(capsys, *arguments, DATABASE_URL=bad[0])
        assert (said.code, said.out) == (1, ""), arguments
        assert said.err.startswith("TALLYFRAME_DATABASE_URL: Postgres at "), said.err
        assert bad[1] in said.err
        assert said.err.count("\n") == 1
        assert str(urlsplit(bad[0]).password) not in said.err


def test_a_url_that_cannot_be_read_stops_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    wrong = {"DATABASE_URL": "postgresql://u:geheim@4711@h/d", "REDIS_URL": "redis://h/x"}
    for arguments in [*COMMANDS, ("api",), ("worker",), ("doctor",), ("openapi",), ("dev",)]:
        said = command(capsys, *arguments, **wrong)
        lines = said.err.splitlines()
        assert (said.code, said.out, len(lines)) == (1, "", 2), arguments
        assert lines[0].startswith("TALLYFRAME_DATABASE_URL: has an '@' in the wrong place")
        assert lines[1].startswith("TALLYFRAME_REDIS_URL: has a database that is no number")


async def test_what_was_never_migrated_is_said(servers: Servers) -> None:
    async with owner_of(servers.database_url) as owner:
        await owner.execute("CREATE DATABASE never_migrated")
    url = with_database(servers.database_url, "never_migrated")
    db = Database(url, role=ADMIN_ROLE, pool_size=1, statement_timeout=5)
    with pytest.raises(DatabaseAway) as away:
        await db.run(sa.text("SELECT * FROM public.alembic_version"))
    await db.close()
    assert "has not been migrated. Run `tallyframe migrate`" in away.value.words


async def test_the_doctor_tells_a_wrong_password_from_a_missing_database(bad: tuple[str, str], tmp_path: Path) -> None:
    settings = load_settings(database_url=bad[0], redis_url="redis://127.0.0.1:1/0", data_dir=tmp_path)
    found = {finding.name: finding async for finding in examine(settings)}
    assert not found["postgres"].is_well
    assert bad[1] in found["postgres"].words
    assert "nothing listens there" in found["redis"].words


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"password": "geheim-4711"}, "refuses the login"),
        ({"password": ""}, "refuses the login"),
        ({"password": "", "db": "3"}, "refuses the login"),
        ({"password": "", "db": "0?protocol=3"}, "refuses the login"),
        ({"password": "", "db": "0?client_name=ours"}, "refuses the login"),
        ({"password": "geheim-4711", "db": "0?protocol=3"}, "refuses the login"),
        ({"port": "1"}, "nothing listens there"),
        ({"host": "nowhere.invalid"}, "the name of the host is unknown"),
        ({"db": "99"}, "has no database of that number"),
    ],
)
async def test_redis_says_what_is_wrong(redis_url: str, change: dict[str, str], said: str) -> None:
    parts = {name: value for name, value in change.items() if name != "db"}
    redis = connect(changed(redis_url, user="", **parts)[:-1] + change.get("db", "0"))
    with pytest.raises(REDIS_AWAY) as error:
        async with asyncio.timeout(20):
            await redis.ping()
    await redis.aclose(close_connection_pool=True)
    words = redis_words(error.value, redis.address)
    assert words.startswith(f"TALLYFRAME_REDIS_URL: Redis at {redis.address} ")
    assert said in words
    assert "4711" not in words


@pytest.mark.parametrize("more", ["", "?protocol=3", "?protocol=3&client_name=ours", "?health_check_interval=1"])
async def test_redis_is_used_as_its_url_says(redis: JobQueue, redis_url: str, more: str) -> None:
    used = connect(redis_url + more)
    async with asyncio.timeout(10):
        await put_wake_up(used)
        assert await redis.exists(WAKE_UP)
        assert await take_wake_up(used)
    await used.aclose(close_connection_pool=True)


async def in_use(url: str, *names: str) -> list[str]:
    """These settings of a session that is opened by the URL."""
    db = Database(url, role=ADMIN_ROLE, pool_size=1, statement_timeout=5)
    try:
        return list((await db.run(sa.select(*(sa.func.current_setting(name) for name in names)))).one())
    finally:
        await db.close()


async def test_what_libpq_hands_on_arrives(database_url: str) -> None:
    more = "application_name=ours&options=-c%20work_mem%3D5MB&connect_timeout=9&channel_binding=prefer&keepalives=1"
    names = ("application_name", "work_mem", "search_path", "statement_timeout")
    assert await in_use(f"{database_url}?{more}", *names) == ["ours", "5MB", "public, pg_temp", "5s"]
    assert await in_use(database_url.replace("postgresql://", "postgres://"), "application_name") == ["tallyframe"]


@pytest.fixture
def made(tmp_path: Path) -> Certificates:
    return certificates(tmp_path, "localhost", "127.0.0.1")


async def test_all_six_modes_of_tls(database_url: str, made: Certificates) -> None:
    ours, other = f"sslrootcert={made.authority}", f"sslrootcert={made.other_authority}"
    bound = "sslmode=require&channel_binding=require"
    async with tls_proxy(database_url, made) as proxy:
        for query in ("sslmode=disable", "sslmode=allow"):
            assert await in_use(f"{proxy.url}?{query}", "role") == ["tallyframe_admin"]
            assert not proxy.encrypted.pop(), query
        verified = (f"sslmode=verify-ca&{ours}", f"sslmode=verify-full&{ours}", f"{bound}&{ours}")
        for query in ("sslmode=prefer", "sslmode=require", "ssl=true", "", *verified):
            assert await in_use(f"{proxy.url}?{query}", "role") == ["tallyframe_admin"]
            assert proxy.encrypted.pop(), query
        for query in (f"sslmode=verify-ca&{other}", f"sslmode=verify-full&{other}", bound, "sslrootcert=system"):
            with pytest.raises(DatabaseAway) as away:
                await in_use(f"{proxy.url}?{query}", "role")
            assert "has a certificate that can't be verified" in away.value.words, query
        assert proxy.encrypted == []


async def test_a_server_that_asks_for_tls(database_url: str, made: Certificates) -> None:
    async with tls_proxy(database_url, made, is_required=True) as proxy:
        with pytest.raises(DatabaseAway) as away:
            await in_use(f"{proxy.url}?sslmode=disable", "role")
    assert "whether TLS is on there" in away.value.words
