"""The app behind a real socket, with the connections that operators get."""

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import uvicorn

from tallyframe.api.connections import Connection
from tallyframe.main import create_app
from tallyframe.settings import Settings


@dataclass
class Wire:
    """Somebody who speaks HTTP byte by byte."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def send(self, data: bytes) -> None:
        """Send what the other side takes; it may have closed already."""
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def rest(self, seconds: float = 20.0) -> bytes:
        """All that comes until the other side closes. Raises TimeoutError if it doesn't."""
        received = b""
        with contextlib.suppress(ConnectionError):
            while piece := await asyncio.wait_for(self.reader.read(65536), seconds):
                received += piece
        return received

    async def answer(self) -> bytes:
        """The head and body of one answer."""
        head = await asyncio.wait_for(self.reader.readuntil(b"\r\n\r\n"), 20)
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        return head + await self.reader.readexactly(int(lengths[0].split(b":")[1]))


@dataclass
class Server:
    port: int
    uvicorn: uvicorn.Server

    @asynccontextmanager
    async def wire(self, buffer: int | None = None) -> AsyncIterator[Wire]:
        """Connect; `buffer` is how many bytes the system keeps of what we don't read."""
        ours = socket.socket()
        if buffer:
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer)
        ours.setblocking(False)
        await asyncio.get_running_loop().sock_connect(ours, ("127.0.0.1", self.port))
        reader, writer = await asyncio.open_connection(sock=ours)
        try:
            yield Wire(reader, writer)
        finally:
            writer.transport.abort()


@asynccontextmanager
async def listening(settings: Settings, *, keep_alive: int = 5) -> AsyncIterator[Server]:
    """Serve the app on a free port of this machine while the block runs."""
    config = uvicorn.Config(
        create_app(settings), port=0, http=Connection, ws="none", log_config=None, access_log=False,
        timeout_keep_alive=keep_alive, timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    task = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0.01)
        assert not task.done()
    try:
        yield Server(server.servers[0].sockets[0].getsockname()[1], server)
    finally:
        server.should_exit = True
        await task
