"""Does a stranger notice what became of it? Real sockets, to servers that do what no API process should."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from itertools import repeat
from typing import Any

import pytest

from chaos.wires import Act, Told, Wire

Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
ASKS = Act("asks", [b"GET / HTTP/1.1\r\n\r\n"], patience=20)
LONG = Act("long", [b"x" * 65536] * 2000, patience=20)


async def done(act: Act, serve: Serve | None) -> Told:
    async def served(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            if serve is not None:
                await serve(reader, writer)
        writer.close()

    server = await asyncio.start_server(served, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    if serve is None:
        server.close()
    wire = Wire(act, port)
    await asyncio.wait_for(wire.run(), 20)
    server.close()
    return wire.told


def says(*pieces: bytes) -> Serve:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        for piece in pieces:
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(0.02)
        await reader.read()

    return serve


async def closes(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read(100)


async def test_what_it_was_told() -> None:
    told = await done(ASKS, says(b"HTTP/1.1 200 OK\r\n\r\n"))
    assert (told.statuses, told.end) == ([200], "answered")
    told = await done(ASKS, says(b"HTTP/1.", b"1 4", b"01 Unauthorized\r\n\r\n" + b"x" * 99))
    assert (told.statuses, told.end) == ([401], "answered")
    both = says(b"HTTP/1.1 401 Unauthorized\r\n\r\n", b"HTTP/1.1 202 Accepted\r\n\r\n")
    told = await done(replace(ASKS, pieces=[b"x"] * 20, pause=0.01, goes_on=True), both)
    assert told.statuses == [401, 202]


async def test_that_it_was_closed_or_refused() -> None:
    assert (await done(ASKS, closes)).end == "closed"
    assert (await done(LONG, closes)).end == "closed"
    assert (await done(ASKS, None)).end == "refused"


@pytest.mark.parametrize("changes", [{}, {"is_deaf": True}, {"pause": 0.01}], ids=["asks", "reads nothing", "slowly"])
async def test_that_it_was_kept_for_too_long(changes: dict[str, Any]) -> None:
    act = replace(ASKS, patience=0.3, pieces=repeat(b"x" * 50_000, 10) if changes else ASKS.pieces, **changes)
    assert (await done(act, says())).end == "held"


async def test_who_hangs_up_or_stops_at_an_answer() -> None:
    assert (await done(replace(ASKS, leaves=True), says())).end == "left"
    told = await done(LONG, says(b"HTTP/1.1 413 Too Large\r\n\r\n", *[b""] * 50))
    assert (told.statuses, told.end) == ([413], "answered")
    assert told.sent < 2000 * 65536


async def test_who_reads_nothing_notices_that_it_was_cut_off() -> None:
    async def aborts(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await asyncio.sleep(0.1)
        writer.transport.abort()

    assert (await done(replace(LONG, pieces=repeat(b"x" * 65536), is_deaf=True), aborts)).end == "closed"
