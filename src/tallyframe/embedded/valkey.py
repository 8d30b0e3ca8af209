"""Valkey, which speaks the protocol of Redis, from a wheel."""

import asyncio
import os
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
    """A Valkey that keeps what it is told (appendonly), evicts nothing and asks for its password."""

    name: ClassVar[str] = "valkey"
    title: ClassVar[str] = "Valkey"
    end_steps: ClassVar[Steps] = ((signal.SIGTERM, 10.0),)

    @property
    def url(self) -> str:
        """`redis://:<password>@127.0.0.1:<port>/0`."""
        return f"redis://:{self.password}@{LOOPBACK}:{self.port}/0"

    def _knows_a_password(self) -> bool:
        return False  # it is part of the configuration

    async def _prepare(self) -> None:
        await orphans.clear(self.data / _PID_FILE, "valkey-server", signal.SIGTERM)

    def _config(self) -> str:
        """The configuration; no path in it, so that a folder may have any name."""
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
        return "".join(f"{name} {value}\n" for name, value in settings.items())

    async def _spawn(self) -> None:
        """Start the process, with the configuration on its stdin: `ps` shows the arguments to everybody."""
        self._stdin, writer = os.pipe()
        try:
            os.write(writer, self._config().encode())
            os.close(writer)
            await super()._spawn()
        finally:
            os.close(self._stdin)

    def _program(self) -> Program:
        argv = [str(valkey_server()), "-"]
        return Program(argv, {}, death_signal=signal.SIGTERM, folder=self.data, stdin=self._stdin)

    async def _is_ready(self) -> bool:
        """Whether it answers PING."""
        try:
            async with asyncio.timeout(_PATIENCE):
                return await self._answers()
        except (OSError, TimeoutError):
            return False

    async def _answers(self) -> bool:
        reader, writer = await asyncio.open_connection(LOOPBACK, self.port)
        try:
            writer.write(f"AUTH {self.password}\r\nPING\r\n".encode())
            return [await reader.readline(), await reader.readline()] == [b"+OK\r\n", b"+PONG\r\n"]
        finally:
            writer.close()
            await writer.wait_closed()
