"""One hostile connection: what is sent over it, byte by byte, and what became of it."""

import asyncio
import re
import socket
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Literal

HOST = "127.0.0.1"
_CONNECTS = 5.0  # seconds for the connection to be made
_SMALL = 4096  # bytes that the system keeps for somebody who doesn't read
_PIECE = 65536
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3}) ")
_LONGEST_STATUS = len(b"HTTP/1.1 200 ")

#: refused: nobody listens. closed: by the API process. answered: we hung up after an answer. left: we hung up without
#: one. held: neither an answer nor an end came within the act's patience.
End = Literal["refused", "closed", "answered", "left", "held"]


@dataclass(frozen=True, slots=True)
class Act:
    """What somebody does on one connection. Times are in seconds."""

    name: str
    pieces: Iterable[bytes]
    pause: float = 0.0  # between two pieces
    is_deaf: bool = False  # reads no answers
    goes_on: bool = False  # sends the rest although there was an answer
    leaves: bool = False  # hangs up once all is sent
    patience: float = 60.0  # from the last piece, or for a slow or deaf one from the first, until it must be over


@dataclass(slots=True)
class Told:
    """What became of an act: the statuses of HTTP that came, how it ended, and the bytes that were sent."""

    statuses: list[int] = field(default_factory=list)
    end: End = "left"
    sent: int = 0


class Wire:
    """A connection to a port of this machine, on which an act is done."""

    def __init__(self, act: Act, port: int) -> None:
        self.told = Told()
        self._act = act
        self._port = port
        self._answered = asyncio.Event()
        self._all_sent = asyncio.Event()

    async def run(self) -> None:
        """Do the act; `told` says what became of it, also when this is canceled."""
        loop = asyncio.get_running_loop()
        with socket.socket() as ours:
            if self._act.is_deaf:
                ours.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL)
            ours.setblocking(False)
            try:
                async with asyncio.timeout(_CONNECTS):
                    await loop.sock_connect(ours, (HOST, self._port))
            except OSError:  # a TimeoutError is one, too
                self.told.end = "refused"
                return
            await self._talk(ours)

    async def _talk(self, ours: socket.socket) -> None:
        speaking = asyncio.create_task(self._speak(ours))
        parts = [speaking, asyncio.create_task(self._enough())]
        parts += [] if self._act.is_deaf else [asyncio.create_task(self._hear(ours))]
        try:
            waiting = set(parts)
            while waiting:
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                ends = [end for task in done if (end := task.result())]
                if ends:
                    self.told.end = ends[0]
                    return
        finally:
            for task in parts:
                task.cancel()
            await asyncio.gather(*parts, return_exceptions=True)

    async def _speak(self, ours: socket.socket) -> End | None:
        """Send all pieces. Return "closed" if the other side has gone, and None when all is sent."""
        loop = asyncio.get_running_loop()
        try:
            for piece in self._act.pieces:
                if self._answered.is_set() and not self._act.goes_on:
                    break
                await loop.sock_sendall(ours, piece)
                self.told.sent += len(piece)
                await asyncio.sleep(self._act.pause)
        except OSError:
            await asyncio.sleep(0.05)  # an answer that came before may still be read
            return "closed"
        self._all_sent.set()
        return "left" if self._act.leaves and not self._answered.is_set() else None

    async def _hear(self, ours: socket.socket) -> End:
        """Note all statuses, and return when the other side has closed."""
        loop, kept = asyncio.get_running_loop(), b""
        with suppress(OSError):
            while piece := await loop.sock_recv(ours, _PIECE):
                kept += piece
                for found in _STATUS.finditer(kept):
                    self.told.statuses.append(int(found[1]))
                    self._answered.set()
                last = max((found.end() for found in _STATUS.finditer(kept)), default=0)
                kept = kept[max(last, len(kept) - _LONGEST_STATUS) :]
        return "closed"

    async def _enough(self) -> End:
        """Return when we have what we came for, or have waited too long."""
        if not (self._act.pause or self._act.is_deaf):
            await self._all_sent.wait()
        try:
            async with asyncio.timeout(self._act.patience):
                await self._answered.wait()
                if self._act.goes_on:
                    await self._all_sent.wait()
        except TimeoutError:
            return "held"
        return "answered"
