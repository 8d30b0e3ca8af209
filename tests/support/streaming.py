"""Servers whose answers never end: one that sends as much as it can, and one that sends a byte now and then."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field

MOST = 100 * 2**20  # bytes that `flooding` sends at the most


@dataclass
class Stream:
    """A server that is sending. `sent` counts the bytes of its answers; `gone` is set once a client has hung up."""

    url: str = ""
    sent: int = 0
    gone: asyncio.Event = field(default_factory=asyncio.Event)


@asynccontextmanager
async def flooding() -> AsyncIterator[Stream]:
    """Serve an answer of 100 MB without a length."""
    stream = Stream()

    async def flood(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")  # until the connection ends
        with suppress(ConnectionError):  # the other side has had enough
            while stream.sent < MOST:
                writer.write(b" " * 65536)
                await writer.drain()
                stream.sent += 65536
        writer.close()

    async with _serving(stream, await asyncio.start_server(flood, "127.0.0.1", 0)):
        yield stream


@asynccontextmanager
async def dripping() -> AsyncIterator[Stream]:
    """Serve an answer of 1,000 bytes that takes 20 seconds."""
    stream = Stream()

    async def drip(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not writer.is_closing():
            writer.write(b" ")
            await asyncio.sleep(0.02)
        stream.gone.set()

    async with _serving(stream, await asyncio.start_server(drip, "127.0.0.1", 0)):
        yield stream


@asynccontextmanager
async def _serving(stream: Stream, server: asyncio.Server) -> AsyncIterator[None]:
    stream.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    try:
        yield
    finally:
        server.close()
