"""A TCP proxy on the link between two programs. It can cut, delay and lose what goes over it, at any moment.

    async with link("127.0.0.1", 5432) as proxy:
        url = proxy.instead_of(database_url)      # the same URL by way of the proxy
        proxy.switch("swallow_replies")           # from now on, also for connections that are open
        proxy.switch("pass")
        with proxy.switched("delay", seconds=2):  # back to "pass" at the end of the block
            ...
        proxy.cut()                               # resets every open connection, once; new ones can be made
        proxy.forget()                            # open connections are dead for good, and neither end is told

The modes apply to open and new connections unless noted:

    pass             bytes go through in both directions, and so does the end of either side
    refuse           new connections are refused (ECONNREFUSED); open ones go on
    swallow          a black hole: all bytes in both directions are lost, the end of a side too; connecting works
    swallow_replies  the client's bytes get through, the server's are lost: the work is done, and the answer is lost
    delay            each piece waits `seconds` before it goes on, in both directions
    reset            a connection is reset once `after_bytes` from the server have gone through since the switch

Swallowed bytes are lost for good. So at the next switch, a connection that has lost bytes is reset, as TCP does after
too many lost packets: it never goes on with a gap.

The proxy runs in the event loop that opens it. It speaks TCP only, as our servers listen on TCP only.
"""

import asyncio
import socket
import struct
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Literal, get_args
from urllib.parse import urlsplit

Mode = Literal["pass", "refuse", "swallow", "swallow_replies", "delay", "reset"]
MODES: tuple[Mode, ...] = get_args(Mode)

_LOOPBACK = "127.0.0.1"
_PIECE = 2**20  # bytes read at once, at most
_BACKLOG = 128  # connections that wait for us
_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER: closing sends a reset


@dataclass(eq=False)
class _Connection:
    """A client's connection and ours to the server. `replied` is bytes from the server since the last switch."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    lost: bool = False  # something was swallowed
    forgotten: bool = False
    replied: int = 0

    def reset(self) -> None:
        """Reset both sides; bytes that are still on their way are lost."""
        _reset(self.client)
        _reset(self.server)


class Proxy:
    """A listener on a loopback port of its own, in front of another port. Made by `link`, within an event loop."""

    def __init__(self, host: str, target_port: int) -> None:
        self.port = 0
        self.mode: Mode = "pass"
        self.touched = 0  # pieces that were lost or held up, and connections that were reset or forgotten
        self._target = host, target_port
        self._seconds = 0.0
        self._after_bytes = 0
        self._open: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._switched = asyncio.Event()
        self._listener = self._bound()
        self._listens = False
        self._listen()

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._open)

    def instead_of(self, url: str) -> str:
        """Return `url` with this proxy's address in place of its host and port; user and password stay."""
        parts = urlsplit(url)
        who, at, _ = parts.netloc.rpartition("@")
        return parts._replace(netloc=f"{who}{at}{_LOOPBACK}:{self.port}").geturl()

    def switch(self, mode: Mode, *, seconds: float = 0.0, after_bytes: int = 0) -> None:
        """Change to `mode` at once. Raises ValueError for an unknown mode."""
        if mode not in MODES:
            raise ValueError(f"no such mode: {mode!r}")
        self.mode, self._seconds, self._after_bytes = mode, seconds, after_bytes
        for connection in self._open:
            connection.replied = 0
            if connection.lost and not connection.forgotten:
                connection.reset()
        if mode != "refuse":
            self._listen()
        elif self._listens:
            self._stop_listening()
            self._listener = self._bound()
        self._switched.set()
        self._switched = asyncio.Event()

    @contextmanager
    def switched(self, mode: Mode, *, seconds: float = 0.0, after_bytes: int = 0) -> Iterator[None]:
        """Use `mode` for the block, and "pass" afterwards."""
        self.switch(mode, seconds=seconds, after_bytes=after_bytes)
        try:
            yield
        finally:
            self.switch("pass")

    def cut(self) -> None:
        """Reset every open connection; new ones can be made."""
        self.touched += len(self._open)
        for connection in self._open:
            connection.reset()

    def forget(self) -> None:
        """Swallow everything on every open connection from now on, and tell neither end: a machine has lost power.

        New connections can be made.
        """
        self.touched += len(self._open)
        for connection in self._open:
            connection.forgotten = True

    async def aclose(self) -> None:
        """Stop listening and end everything."""
        self._stop_listening()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _bound(self) -> socket.socket:
        """Return a socket that has our port and doesn't listen: clients are refused, and nobody else gets the port."""
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        bound.setblocking(False)
        bound.bind((_LOOPBACK, self.port))
        self.port = bound.getsockname()[1]
        return bound

    def _listen(self) -> None:
        if not self._listens:
            self._listener.listen(_BACKLOG)
            asyncio.get_running_loop().add_reader(self._listener, self._accept)
            self._listens = True

    def _stop_listening(self) -> None:
        if self._listens:
            asyncio.get_running_loop().remove_reader(self._listener)
        self._listener.close()
        self._listens = False

    def _accept(self) -> None:
        with suppress(OSError):  # the client has gone already
            client, _ = self._listener.accept()
            task = asyncio.create_task(self._serve(client))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _serve(self, accepted: socket.socket) -> None:
        """Carry one connection from its beginning to its end."""
        from_client, client = await asyncio.open_connection(sock=accepted, limit=_PIECE)
        try:
            from_server, server = await asyncio.open_connection(*self._target, limit=_PIECE)
        except OSError:  # nobody listens there
            _reset(client)
            return
        connection = _Connection(client, server)
        self._open.add(connection)
        try:
            await asyncio.gather(
                self._carry(connection, from_client, server),
                self._carry(connection, from_server, client),
            )
        finally:
            self._open.discard(connection)
            client.close()
            server.close()

    async def _carry(self, connection: _Connection, source: asyncio.StreamReader, to: asyncio.StreamWriter) -> None:
        """Carry one direction of a connection until its source has ended."""
        try:
            while piece := await source.read(_PIECE):
                if await self._goes_on(connection, to):
                    await self._pass_on(connection, piece, to)
            if await self._goes_on(connection, to):
                to.write_eof()
        except OSError:  # one side was reset
            if await self._goes_on(connection, to):
                connection.reset()

    async def _goes_on(self, connection: _Connection, to: asyncio.StreamWriter) -> bool:
        """Wait if the mode is "delay", until the next switch at most. Return False if the bytes are to be lost."""
        if self.mode == "delay":
            with suppress(TimeoutError):
                async with asyncio.timeout(self._seconds):
                    await self._switched.wait()
        is_reply = to is connection.client
        swallowed = connection.forgotten or self.mode == "swallow" or (self.mode == "swallow_replies" and is_reply)
        connection.lost = connection.lost or swallowed
        self.touched += swallowed or self.mode == "delay"
        return not swallowed

    async def _pass_on(self, connection: _Connection, piece: bytes, to: asyncio.StreamWriter) -> None:
        if self.mode == "reset" and to is connection.client:
            room = self._after_bytes - connection.replied
            connection.replied += len(piece)
            if len(piece) >= room:
                to.write(piece[:room])
                connection.reset()
                self.touched += 1
                return
        to.write(piece)
        await to.drain()


def _reset(side: asyncio.StreamWriter) -> None:
    found: Any = side.get_extra_info("socket")
    with suppress(OSError):  # gone already
        found.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
    side.transport.abort()


@asynccontextmanager
async def link(host: str, port: int) -> AsyncIterator[Proxy]:
    """Open a proxy to `host`:`port` for the block, in mode "pass"."""
    proxy = Proxy(host, port)
    try:
        yield proxy
    finally:
        await proxy.aclose()
