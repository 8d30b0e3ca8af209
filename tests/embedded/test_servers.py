"""PostgreSQL and Valkey from wheels: what they keep, and what they do not show."""

import asyncio
import os
import shutil
import signal
import stat
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg
import psutil
import pytest

from tallyframe.embedded import EmbeddedError, Servers, postgres, servers
from tallyframe.embedded.postgres import Postgres
from tallyframe.embedded.valkey import Valkey
from tallyframe.embedded.wheels import postgres_programs


@pytest.fixture(scope="module")
async def both(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Servers]:
    deep = tmp_path_factory.mktemp("deep").joinpath("with a space", *["d" * 200] * 6)
    async with servers(deep) as both:
        yield both


async def ask(url: str, sql: str) -> object:
    connection = await asyncpg.connect(url)
    try:
        return await connection.fetchval(sql)
    finally:
        await connection.close()


async def talk(valkey: Valkey, command: str) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", valkey.port)
    try:
        writer.write(f"AUTH {valkey.password}\r\n{command}\r\n".encode())
        assert await reader.readline() == b"+OK\r\n"
        return (await reader.readline()).strip()
    finally:
        writer.close()
        await writer.wait_closed()


async def test_they_serve_from_a_folder_of_1200_characters(both: Servers) -> None:
    assert len(str(both.postgres.folder)) > 1200
    assert await ask(both.database_url, "SELECT current_database()::text") == "tallyframe"
    assert await talk(both.valkey, "PING") == b"+PONG"


async def test_postgres_sorts_by_code_point_and_knows_unicode(both: Servers) -> None:
    assert await ask(both.database_url, "SELECT 'a' > 'B' AND upper('é') = 'É'") is True


async def test_they_listen_on_the_loopback_only(both: Servers) -> None:
    for server in (both.postgres, both.valkey):
        listening = [each.laddr for each in psutil.Process(server.pid).net_connections() if each.status == "LISTEN"]
        assert listening == [("127.0.0.1", server.port)]


async def test_neither_lets_in_without_the_password(both: Servers) -> None:
    with pytest.raises(asyncpg.InvalidPasswordError):
        await asyncpg.connect(both.database_url, password="guess")
    reader, writer = await asyncio.open_connection("127.0.0.1", both.valkey.port)
    writer.write(b"PING\r\n")
    assert (await reader.readline()).startswith(b"-NOAUTH")
    writer.close()
    await writer.wait_closed()


async def test_no_password_shows_in_the_process_list(both: Servers) -> None:
    arguments = " ".join(" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"]))
    assert both.postgres.password not in arguments
    assert both.valkey.password not in arguments


async def test_files_are_for_the_owner_only(both: Servers) -> None:
    folder = both.postgres.folder
    assert {path.name for path in folder.iterdir() if path.is_file()} == {
        "lock", "postgres.json", "postgres.log", "valkey.json", "valkey.log",
    }  # fmt: skip
    for path in folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


async def test_they_do_not_run_as_root(both: Servers) -> None:
    for server in (both.postgres, both.valkey):
        assert psutil.Process(server.pid).uids().effective != 0


@pytest.mark.skipif(os.geteuid() != 0 or sys.platform != "linux", reason="only root can enter, and only Linux lets it")
async def test_root_may_have_them_where_nobody_else_can_enter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    programs = postgres_programs()
    wheel, shut = programs.parent.parent, tmp_path / "shut"
    shut.mkdir(mode=0o700)
    for folder in (wheel, wheel.with_name(f"{wheel.name}.libs")):
        shutil.copytree(folder, shut / folder.name, symlinks=True)
    copied = shut / programs.relative_to(wheel.parent)
    monkeypatch.setattr(postgres, "postgres_programs", lambda _: copied)
    async with servers(tmp_path / "data", durable=False) as both:
        server = psutil.Process(both.postgres.pid)
        assert await ask(both.database_url, "SELECT 42") == 42
        assert Path(server.exe()).parent == copied
        assert server.uids().effective != 0


async def test_they_keep_everything_over_a_restart_on_the_same_url(both: Servers) -> None:
    before = both.database_url, both.redis_url
    await ask(both.database_url, "CREATE TABLE kept AS SELECT 42 AS answer")
    await talk(both.valkey, "SET kept 42")
    for server in (both.valkey, both.postgres):
        await server.stop()
        await server.start()
    assert (both.database_url, both.redis_url) == before
    assert await ask(both.database_url, "SELECT answer FROM kept") == 42
    assert await talk(both.valkey, "GET kept") == b"$2"


async def test_postgres_has_what_was_committed_before_a_kill(both: Servers) -> None:
    await ask(both.database_url, "CREATE TABLE survivors AS SELECT generate_series(1, 1000)")
    both.postgres.kill(signal.SIGKILL)
    assert await both.postgres.wait() == -signal.SIGKILL
    await both.postgres.start()
    assert await ask(both.database_url, "SELECT count(*) FROM survivors") == 1000


async def test_a_frozen_server_is_ended_too(both: Servers) -> None:
    both.valkey.kill(signal.SIGSTOP)
    await asyncio.wait_for(both.valkey.stop(), 5)
    await both.valkey.start()
    assert await talk(both.valkey, "PING") == b"+PONG"


async def test_another_object_finds_the_same_port_and_password(both: Servers) -> None:
    before = both.redis_url
    await both.valkey.stop()
    again = Valkey(both.valkey.folder)
    await again.start()
    assert again.url == before
    await again.stop()
    await both.valkey.start()


async def test_a_foreign_process_with_the_left_over_pid_is_left_alone(both: Servers) -> None:
    both.postgres.kill(signal.SIGKILL)
    await both.postgres.wait()
    await asyncio.sleep(0.3)  # its children follow it
    foreign = await asyncio.create_subprocess_exec(sys.executable, "-c", "import time; time.sleep(60)")
    left_over = both.postgres.data / "postmaster.pid"
    left_over.write_text(f"{foreign.pid}\n" + "\n".join(left_over.read_text().splitlines()[1:]))
    await both.postgres.start()
    assert foreign.returncode is None
    foreign.kill()
    await foreign.wait()
    assert await ask(both.database_url, "SELECT 1") == 1


@pytest.mark.parametrize("kind", [Postgres, Valkey])
async def test_a_live_orphan_of_the_folder_is_ended_first(both: Servers, kind: type[Postgres | Valkey]) -> None:
    ours = both.postgres if kind is Postgres else both.valkey
    orphan = ours.pid
    second = kind(ours.folder)
    await second.start()
    assert not psutil.pid_exists(orphan)
    await second.stop()
    await ours.start()


async def test_a_lost_password_is_one_line(both: Servers, tmp_path: Path) -> None:
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("18\n")
    with pytest.raises(EmbeddedError, match=r"postgres\.json is gone, and with it the password"):
        await Postgres(tmp_path).start()


async def test_data_of_another_version_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "postgres.json").write_text('{"password": "x"}')
    (tmp_path / "postgres").mkdir()
    (tmp_path / "postgres" / "PG_VERSION").write_text("12\n")
    with pytest.raises(EmbeddedError, match="The data is PostgreSQL 12's"):
        await Postgres(tmp_path).start()


async def test_a_server_that_cannot_start_says_why(both: Servers, tmp_path: Path) -> None:
    broken = Valkey(tmp_path, durable=False)
    broken.password = "two words"
    (tmp_path / "valkey.json").write_text('{"password": "two words"}')
    with pytest.raises(EmbeddedError, match=r"Valkey did not start: .+ \(see .+valkey\.log\)$"):
        await broken.start()


async def test_a_start_that_is_given_up_leaves_nothing_running(tmp_path: Path) -> None:
    async def start() -> None:
        async with servers(tmp_path):
            pytest.fail("it was to be given up")

    starting = asyncio.create_task(start())
    await asyncio.sleep(0.3)  # in the middle of initdb
    starting.cancel()
    await asyncio.wait({starting})
    assert starting.cancelled()
    assert [path.name for path in tmp_path.glob("postgres.*") if path.suffix in {".new", ".password"}] == []
    assert not [each for each in psutil.process_iter(["cwd"]) if (each.info["cwd"] or "").startswith(str(tmp_path))]


async def test_ids_of_the_owner_do_not_leak_outside_the_folder(both: Servers) -> None:
    around = both.postgres.folder.parent
    assert around.stat().st_uid == os.geteuid()
