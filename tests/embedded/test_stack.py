"""The whole stack as its own process, with stand-ins for the API and the worker."""

import asyncio
import json
import signal
import socket
import stat
import sys
import time
import urllib.parse
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import psutil
import pytest

from tallyframe.embedded import EmbeddedError, ports, read_stack
from tests.support.processes import free_port

STAND_IN = str(Path(__file__).with_name("stand_in.py"))
Start = Callable[..., Awaitable[Process]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Start a stack in a folder; whatever is still there at the end of the test is killed."""
    started: list[Process] = []

    async def start(folder: Path, port: int, *worker: str) -> Process:
        argv = [sys.executable, STAND_IN, "stack", str(folder), str(port), *worker]
        process = await asyncio.create_subprocess_exec(*argv, stdout=PIPE, stderr=PIPE)
        started.append(process)
        return process

    yield start
    for process in started:
        if process.returncode is None:
            process.kill()
        await process.communicate()


async def ready(process: Process) -> None:
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 60)
    assert line.startswith(b"ready"), line + (await process.communicate())[1]


async def ended(process: Process, number: int) -> str:
    """Send the signal, wait for the end, return what it said on stderr; it must not fail."""
    process.send_signal(number)
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 0, said
    return said.decode()


def family(process: Process) -> list[psutil.Process]:
    return psutil.Process(process.pid).children(recursive=True)


async def until_gone(processes: list[psutil.Process], seconds: float = 60.0) -> None:
    async with asyncio.timeout(seconds):
        while any(each.is_running() and each.status() != psutil.STATUS_ZOMBIE for each in processes):
            await asyncio.sleep(0.02)


async def test_ctrl_c_ends_all_in_order_and_a_second_start_finds_everything(tmp_path: Path, start: Start) -> None:
    port = free_port()
    for count, number in ((1, signal.SIGINT), (2, signal.SIGTERM)):
        process = await start(tmp_path, port)
        await ready(process)
        found = read_stack(tmp_path)
        assert found["url"] == f"http://127.0.0.1:{port}"
        assert found["api_key"] == f"tf_{count}"
        assert set(found) == {"url", "database_url", "redis_url", "admin_api_key", "api_key"}
        assert stat.S_IMODE((tmp_path / "stack.json").stat().st_mode) == 0o600
        running = family(process)
        assert len(running) > 6
        assert await ended(process, number) == ""
        assert not any(each.is_running() for each in running)
        assert not (tmp_path / "stack.json").exists()
        assert not (tmp_path / "postgres" / "postmaster.pid").exists()
    assert (tmp_path / "ended").read_text().split() == ["worker", "api"] * 2


async def test_two_run_side_by_side_and_a_third_is_told_why_not(tmp_path: Path, start: Start) -> None:
    one, other = free_port(), free_port()
    first, second = await start(tmp_path / "one", one), await start(tmp_path / "other", other)
    await ready(first)
    await ready(second)
    urls = [read_stack(tmp_path / name)["database_url"] for name in ("one", "other")]
    assert len({urllib.parse.urlsplit(url).port for url in urls}) == 2
    for folder, port, message in (
        ("one", free_port(), f"Another `tallyframe dev` (pid {first.pid}) is using {tmp_path / 'one'}.\n"),
        ("new", one, f"Port {one} is in use; choose another with --port.\n"),
    ):
        refused = await start(tmp_path / folder, port)
        assert await refused.communicate() == (b"", message.encode())
        assert refused.returncode == 1
    assert read_stack(tmp_path / "one")["url"].endswith(str(one))  # the refused one did not touch it
    await asyncio.gather(ended(first, signal.SIGINT), ended(second, signal.SIGTERM))


@pytest.mark.skipif(sys.platform != "linux", reason="only the kernel of Linux tells children")
async def test_a_killed_stack_leaves_no_process_and_starts_again(tmp_path: Path, start: Start) -> None:
    port = free_port()
    process = await start(tmp_path, port)
    await ready(process)
    running = family(process)
    process.kill()
    await process.wait()
    again = await start(tmp_path, port if await _free_soon(port) else 0)  # at once: Postgres is just shutting down
    await ready(again)
    await until_gone(running)
    assert read_stack(tmp_path)["api_key"] == "tf_2"
    await ended(again, signal.SIGTERM)


async def _free_soon(port: int) -> bool:
    async with asyncio.timeout(60):
        while not ports.is_free(port):
            await asyncio.sleep(0.01)
    return True


async def test_a_killed_server_or_worker_is_started_again(tmp_path: Path, start: Start) -> None:
    process = await start(tmp_path, free_port())
    await ready(process)
    before = read_stack(tmp_path)
    servers = {each.name(): each for each in psutil.Process(process.pid).children()}
    [worker] = (each for each in psutil.Process(process.pid).children() if each.cmdline()[-1] == "worker")
    worker.kill()
    for name, url in (("postgres", before["database_url"]), ("valkey-server", before["redis_url"])):
        servers[name].kill()
        port = urllib.parse.urlsplit(url).port
        await asyncio.sleep(0.3)
        async with asyncio.timeout(60):
            while not await _accepts(port or 0):
                await asyncio.sleep(0.05)
    async with asyncio.timeout(60):
        while len(list(tmp_path.glob("working-*"))) < 2:
            await asyncio.sleep(0.05)
    said = await ended(process, signal.SIGINT)
    for title in ("PostgreSQL", "Valkey", "worker"):
        assert f"{title} died (SIGKILL); it starts again in 1 s." in said


async def _accepts(port: int) -> bool:
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) == 0


async def test_a_worker_that_cannot_start_ends_the_stack_with_its_message(tmp_path: Path, start: Start) -> None:
    process = await start(tmp_path, free_port(), "broken")
    _, said = await asyncio.wait_for(process.communicate(), 60)
    assert process.returncode == 1
    assert said.decode().splitlines() == [
        "TALLYFRAME_PRICES: not JSON",
        "worker could not start (exit code 1); see its output above.",
    ]
    assert not (tmp_path / "stack.json").exists()


async def test_ctrl_c_while_starting_leaves_no_process(tmp_path: Path, start: Start) -> None:
    process = await start(tmp_path, free_port())
    async with asyncio.timeout(60):
        while not any(each.name() in {"initdb", "postgres"} for each in family(process)):
            await asyncio.sleep(0.01)
    running, began = family(process), time.monotonic()
    await ended(process, signal.SIGINT)
    assert time.monotonic() - began < 15
    await until_gone(running)


async def test_a_left_over_stack_file_is_no_running_stack(tmp_path: Path, start: Start) -> None:
    (tmp_path / "stack.json").write_text(json.dumps({"url": "http://127.0.0.1:1"}))
    with socket.create_server(("127.0.0.1", 0)) as taken:
        process = await start(tmp_path, taken.getsockname()[1])
        await process.communicate()
    with pytest.raises(EmbeddedError, match="No running stack"):
        read_stack(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["lock"]
