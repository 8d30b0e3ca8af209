"""Asks each API process again and again whether it is alive, and writes down how long it took. A process of its own.

    python -m chaos.pulse LINES SECONDS API=PORT ...

It asks every SECONDS. The file LINES gets a line per request: `api`, `sent` (the machine's clock), `seconds` until the
answer was there, its `status` (0: none), and `waited`: for how many of the seconds the API process could have run and
had no processor, because the machine was busy with others. Each API process has a connection of its own. Its id is in
the file API.pid of the working folder.
"""

import asyncio
import json
import signal
import sys
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, time
from typing import TextIO

from chaos.wires import HOST

LONGEST = 5.0  # seconds that we wait for an answer
_ASKED = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
_BODY = b'"ok"}'  # how the body ends
_CONNECTION = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Pulse:
    """The pulse of one API process."""

    api: str
    port: int
    every: float
    lines: TextIO
    pid: int = 0  # of the process that we are connected to
    _connection: _CONNECTION | None = None

    async def take(self) -> None:
        """Ask until canceled. If an answer takes longer than a turn, the next request is sent at once."""
        turn = monotonic()
        while True:
            turn = max(turn + self.every, monotonic())
            await asyncio.sleep(turn - monotonic())
            sent, began, before = time(), monotonic(), waited(self.pid)
            status = await self._ask()
            seconds = monotonic() - began
            lost = min(max(waited(self.pid) - before, 0.0), seconds)
            line = {"api": self.api, "sent": sent, "seconds": round(seconds, 4), "status": status}
            self.lines.write(json.dumps({**line, "waited": round(lost, 4)}) + "\n")

    async def _ask(self) -> int:
        """Return the status, or 0. A connection that was closed while it waited is made again, once."""
        with suppress(OSError, asyncio.IncompleteReadError):  # a TimeoutError is an OSError
            async with asyncio.timeout(LONGEST):
                if self._connection:
                    with suppress(ConnectionError, asyncio.IncompleteReadError):
                        return await self._answer(*self._connection)
                    self._hang_up()
                self._connection = await asyncio.open_connection(HOST, self.port)
                self.pid = pid_of(self.api)
                return await self._answer(*self._connection)
        self._hang_up()
        return 0

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> int:
        writer.write(_ASKED)
        status = int((await reader.readuntil(b"\r\n")).split()[1])
        await reader.readuntil(_BODY)
        return status

    def _hang_up(self) -> None:
        if self._connection:
            self._connection[1].transport.abort()
            self._connection = None


def pid_of(api: str) -> int:
    """Return the id of the API process that was started last (`chaos/children.py`)."""
    return int(Path(f"{api}.pid").read_text())


def waited(pid: int) -> float:
    """Return for how many seconds a process could have run and had no processor; 0 where the system doesn't say.

    It is the second number of Linux's /proc/<pid>/schedstat, in nanoseconds, of the main thread.
    """
    try:
        return int(Path(f"/proc/{pid}/schedstat").read_text().split()[1]) / 1e9
    except (OSError, IndexError):
        return 0.0


async def take(lines: TextIO, every: float, ports: dict[str, int]) -> None:
    """Take the pulse of all until SIGTERM."""
    each = asyncio.gather(*(Pulse(api, port, every, lines).take() for api, port in ports.items()))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, each.cancel)
    with suppress(asyncio.CancelledError):
        await each


if __name__ == "__main__":
    wanted = dict(argument.split("=") for argument in sys.argv[3:])
    with Path(sys.argv[1]).open("w") as written:
        asyncio.run(take(written, float(sys.argv[2]), {api: int(port) for api, port in wanted.items()}))
