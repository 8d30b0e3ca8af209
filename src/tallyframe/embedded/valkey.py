"""Valkey, which speaks the protocol of Redis, from a wheel."""

import asyncio
import signal
from typing import ClassVar

from tallyframe.embedded import orphans
from tallyframe.embedded.ports import LOOPBACK
from tallyframe.embedded.processes import Program, Steps
from tallyframe.embedded.server import Server
from tallyframe.embedded.wheels import valkey_server

_PID_FILE = "valkey.pid"
_PATIENCE = 1.0  # seconds for an answer to PING


class Valkey(Server):
    """A Valkey that keeps its data on disk (appendonly), evicts nothing and asks for its password."""

    name: ClassVar[str] = "valkey"
    title: ClassVar[str] = "Valkey"
    end_steps: ClassVar[Steps] = ((signal.SIGTERM, 10.0),)

    @property
    def url(self) -> str:
        """`redis://:<password>@127.0.0.1:<port>/0`."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def has_data(self) -> bool:
        """Return False: the password is part of the configuration, so any password opens the data."""
        return False

    async def prepare(self) -> None:
        """End a server that an earlier run has left behind."""
        await orphans.clear(self.data / _PID_FILE, "valkey-server", signal.SIGTERM)

    def program(self) -> Program:
        """Return the server with its configuration on stdin: `ps` shows the arguments, and so a password, to everybody.

        No path is in the configuration, so that the data folder may have any name.
        """
        settings = {
            "bind": LOOPBACK,
            "port": self.port,
            "protected-mode": "yes",
            "requirepass": self.password,
            "appendonly": "yes",
            "appendfsync": "everysec" if self.durable else "no",
            "save": '""',  # the append-only file is enough
            "maxmemory-policy": "noeviction",
            "pidfile": _PID_FILE,
        }
        config = "".join(f"{name} {value}\n" for name, value in settings.items())
        argv = [str(valkey_server()), "-"]
        return Program(argv, {}, death_signal=signal.SIGTERM, folder=self.data, stdin=config.encode())

    async def is_ready(self) -> bool:
        """Return whether it answers PING."""
        try:
            async with asyncio.timeout(_PATIENCE):
                reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
                try:
                    writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
                    return [await reader.readline(), await reader.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
                finally:
                    writer.close()
                    await writer.wait_closed()
        except (OSError, TimeoutError):
            return False
