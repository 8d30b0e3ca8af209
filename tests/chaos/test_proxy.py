"""Does the proxy do to a link what it says, to open connections and to new ones, and heal?"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import cast, get_args

import pytest

from chaos.proxy import Mode, Proxy, link

LOST_AFTER = 0.3  # seconds of silence, where silence is what is expected


@dataclass
class Echo:
    """Says back what it hears, line by line; `big` is answered by a megabyte."""

    port: int = 0
    heard: list[bytes] = field(default_factory=list)
    ended: int = 0  # connections that have

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while line := await reader.readline():
                self.heard.append(line)
                writer.write(b"x" * 2**20 if line == b"big\n" else line)
                await writer.drain()
        except ConnectionError:
            pass
        finally:
            self.ended += 1
            writer.close()

    async def until_heard(self, line: bytes) -> None:
        async with asyncio.timeout(10):
            while line not in self.heard:
                await asyncio.sleep(0.01)

    async def until_ended(self, connections: int) -> None:
        async with asyncio.timeout(10):
            while self.ended < connections:
                await asyncio.sleep(0.01)


@dataclass
class Client:
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    def say(self, line: bytes) -> None:
        self.writer.write(line)

    async def hears(self, line: bytes) -> None:
        async with asyncio.timeout(10):
            assert await self.reader.readexactly(len(line)) == line

    async def hears_nothing(self) -> None:
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(self.reader.read(1), LOST_AFTER)

    async def is_reset(self) -> None:
        async with asyncio.timeout(10):
            with pytest.raises(ConnectionError):
                assert await self.reader.read(1)


@pytest.fixture
async def echo() -> AsyncIterator[Echo]:
    served = Echo()
    server = await asyncio.start_server(served.serve, "127.0.0.1", 0)
    served.port = server.sockets[0].getsockname()[1]
    yield served
    server.close()


@pytest.fixture
async def proxy(echo: Echo) -> AsyncIterator[Proxy]:
    async with link("127.0.0.1", echo.port) as opened:
        yield opened


@asynccontextmanager
async def client_of(proxy: Proxy) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield Client(reader, writer)
    finally:
        writer.transport.abort()


@asynccontextmanager
async def talking(proxy: Proxy) -> AsyncIterator[Client]:
    """A connection that has been used."""
    async with client_of(proxy) as client:
        client.say(b"hello\n")
        await client.hears(b"hello\n")
        yield client


async def assert_works(proxy: Proxy) -> None:
    async with talking(proxy):
        assert proxy.connections >= 1


async def test_what_is_said_goes_through_whole_and_so_does_the_end(proxy: Proxy, echo: Echo) -> None:
    async with talking(proxy) as client:
        client.say(b"big\n")
        await client.hears(b"x" * 2**20)
        client.writer.write_eof()
        assert await asyncio.wait_for(client.reader.read(), 10) == b""
        await echo.until_ended(1)


def url_of(proxy: Proxy) -> str:
    return proxy.instead_of("postgresql://me:p%40ss@10.0.0.1:5432/db?ssl=no")


async def test_a_url_is_led_by_way_of_the_proxy(proxy: Proxy) -> None:
    assert url_of(proxy) == f"postgresql://me:p%40ss@127.0.0.1:{proxy.port}/db?ssl=no"
    assert proxy.instead_of("http://localhost:80") == f"http://127.0.0.1:{proxy.port}"


async def test_a_cut_ends_all_open_connections_and_no_new_ones(proxy: Proxy, echo: Echo) -> None:
    async with talking(proxy) as one, talking(proxy) as other:
        proxy.cut()
        await one.is_reset()
        await other.is_reset()
        await echo.until_ended(2)
    await assert_works(proxy)


async def test_forgotten_connections_are_dead_for_good_and_new_ones_work(proxy: Proxy, echo: Echo) -> None:
    async with talking(proxy) as forgotten:
        proxy.forget()
        forgotten.say(b"hello?\n")
        proxy.switch("pass")
        await forgotten.hears_nothing()
        await assert_works(proxy)
    assert b"hello?\n" not in echo.heard


async def test_refusing_refuses_new_connections_only_and_keeps_the_port(proxy: Proxy) -> None:
    port = proxy.port
    async with talking(proxy) as open_one:
        with proxy.switched("refuse"):
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection("127.0.0.1", port)
            proxy.switch("refuse")  # twice is once
            open_one.say(b"still here\n")
            await open_one.hears(b"still here\n")
        assert proxy.port == port
    await assert_works(proxy)


async def test_a_black_hole_swallows_both_ways_and_resets_at_the_end(proxy: Proxy, echo: Echo) -> None:
    async with talking(proxy) as open_one, talking(proxy) as silent:
        with proxy.switched("swallow"):
            async with client_of(proxy) as new_one:
                open_one.say(b"lost\n")
                new_one.say(b"lost, too\n")
                await open_one.hears_nothing()
                await new_one.hears_nothing()
        await open_one.is_reset()
        silent.say(b"nothing of mine was lost\n")
        await silent.hears(b"nothing of mine was lost\n")
    assert not {b"lost\n", b"lost, too\n"} & set(echo.heard)
    await assert_works(proxy)


async def test_a_goodbye_into_a_black_hole_is_not_heard_before_its_end(proxy: Proxy, echo: Echo) -> None:
    async with talking(proxy) as client:
        proxy.switch("swallow")
        client.writer.close()
        await asyncio.sleep(LOST_AFTER)
        assert echo.ended == 0
        proxy.switch("pass")
        await echo.until_ended(1)


async def test_swallowed_replies_let_the_request_through(proxy: Proxy, echo: Echo) -> None:
    async with talking(proxy) as client:
        with proxy.switched("swallow_replies"):
            client.say(b"do it\n")
            await echo.until_heard(b"do it\n")
            await client.hears_nothing()
        await client.is_reset()
    await assert_works(proxy)


async def test_a_delay_holds_everything_up_and_healing_lets_it_go(proxy: Proxy, echo: Echo) -> None:
    async with talking(proxy) as client:
        proxy.switch("delay", seconds=60)
        client.say(b"slowly\n")
        await client.hears_nothing()
        assert b"slowly\n" not in echo.heard
        proxy.switch("pass")
        await client.hears(b"slowly\n")
        proxy.switch("delay", seconds=0.05)
        client.say(b"a bit\n")
        await client.hears(b"a bit\n")


async def test_a_reset_comes_in_the_middle_of_an_answer(proxy: Proxy) -> None:
    async with talking(proxy) as client:
        proxy.switch("reset", after_bytes=1000)
        client.say(b"big\n")
        await client.hears(b"x" * 1000)
        await client.is_reset()
    async with talking(proxy):  # an answer that is shorter goes through
        pass
    proxy.switch("pass")
    await assert_works(proxy)


async def test_nobody_behind_it_is_a_reset(echo: Echo) -> None:
    async with link("127.0.0.1", 1) as proxy, client_of(proxy) as client:
        await client.is_reset()


async def test_an_unknown_mode_is_refused(proxy: Proxy) -> None:
    with pytest.raises(ValueError, match="no such mode"):
        proxy.switch(cast("Mode", "explode"))
    await assert_works(proxy)


@pytest.mark.parametrize("mode", get_args(Mode))
async def test_every_mode_heals(proxy: Proxy, mode: Mode) -> None:
    async with talking(proxy):
        with proxy.switched(mode, seconds=60, after_bytes=1):
            assert proxy.mode == mode
    await assert_works(proxy)


async def test_closing_ends_what_is_open(echo: Echo) -> None:
    async with link("127.0.0.1", echo.port) as proxy, talking(proxy) as client:
        await proxy.aclose()
        await client.is_reset()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", proxy.port)


@pytest.mark.parametrize("mode", ["swallow", "swallow_replies", "delay"])
async def test_what_a_mode_has_touched_is_counted_and_silence_is_not(proxy: Proxy, echo: Echo, mode: Mode) -> None:
    async with talking(proxy) as one:
        with proxy.switched(mode, seconds=0.05):
            await asyncio.sleep(0.1)
        assert proxy.touched == 0
        with proxy.switched(mode, seconds=0.05):
            one.say(b"during\n")
            await asyncio.sleep(0.3)
        assert proxy.touched > 0


async def test_cutting_and_forgetting_touch_what_is_open(proxy: Proxy, echo: Echo) -> None:
    proxy.cut()
    proxy.forget()
    assert proxy.touched == 0
    async with talking(proxy):
        proxy.forget()
        proxy.cut()
    assert proxy.touched == 2
