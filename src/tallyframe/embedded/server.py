"""What the two embedded servers have in common: a folder, a port, a password, a log, a start and an end."""

import asyncio
import os
import secrets
import signal
import time
from abc import ABC, abstractmethod
from asyncio.subprocess import Process
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

from tallyframe.embedded import ports
from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.files import make_folder, make_server_folder, read_json, server_user, write_json, writing
from tallyframe.embedded.processes import Program, Steps, end, launch, send

_READY_WITHIN = 60.0  # seconds; recovery after a crash is part of it
_POLL = 0.01  # seconds
_PORT_TRIES = 3  # another program may take the port between our choice and the server's start
_MAX_LOG = 1024 * 1024  # bytes; a longer log is moved to .old at the next start


class Server(ABC):
    """A server on a loopback port: its data in `folder/<name>`; its log and its secrets file, mode 0600, beside that.

    `durable=False` trades the data's safety in a power cut for speed. The server never takes `avoid_port`. Once `hurry`
    is set, `stop` waits a second at most for each signal to take effect. One object must be used by one task at a time.

    A kind of server defines `url`, `has_data`, `prepare`, `program` and `is_ready`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    end_steps: ClassVar[Steps]

    def __init__(
        self, folder: Path, *, durable: bool = True, avoid_port: int = 0, hurry: asyncio.Event | None = None
    ) -> None:
        self.folder = Path(os.path.abspath(folder))  # noqa: PTH100 - resolve() would follow links, and show other names
        self.data = self.folder / self.name
        self.log = self.folder / f"{self.name}.log"
        self.durable = durable
        self.port = 0
        self.password = ""
        self._avoid_port = avoid_port
        self._hurry = hurry or asyncio.Event()
        self._process: Process | None = None
        self._secrets = self.folder / f"{self.name}.json"
        self._log_start = 0

    @property
    def process(self) -> Process:
        """The process of the latest start; raises EmbeddedError before it, and after `stop`."""
        if self._process is None:
            raise EmbeddedError(f"{self.title} is not running.")
        return self._process

    @property
    def pid(self) -> int:
        """The process id; raises EmbeddedError if the server does not run."""
        return self.process.pid

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL for clients, password included; it is known after `start`, and does not change then."""

    @abstractmethod
    def has_data(self) -> bool:
        """Return whether the data folder holds data that only the password of the secrets file opens."""

    @abstractmethod
    async def prepare(self) -> None:
        """Make the data folder ready for a start: initialised, and used by no other process."""

    @abstractmethod
    def program(self) -> Program:
        """Return what to run, on `self.port`; user and log are added to it."""

    @abstractmethod
    async def is_ready(self) -> bool:
        """Return whether the server accepts clients."""

    async def start(self) -> None:
        """Start the server, if it does not run, and wait until it is ready; raises EmbeddedError, one line.

        It takes the port of its last run if that is free. Later starts of the same object take the same port or fail.
        """
        if self._process is not None and self._process.returncode is None:
            return
        make_folder(self.folder)
        with writing(self.folder):
            known = read_json(self._secrets)
            if "password" not in known and self.has_data():
                raise EmbeddedError(f"{self._secrets} is gone, and with it the password for the data beside it.")
            self.password = str(known.get("password") or secrets.token_urlsafe(24))
            last_port = int(known.get("port", 0))
            write_json(self._secrets, {"password": self.password, "port": last_port})
            make_server_folder(self.data, server_user(self.data))
            await self.prepare()
            await self._start_on_a_port(last_port)
            write_json(self._secrets, {"password": self.password, "port": self.port})

    async def stop(self) -> None:
        """End the server, if it runs; it is killed if it does not end in time."""
        process, self._process = self._process, None
        if process is not None:
            await end(process, self.end_steps, self._hurry)

    async def wait(self) -> int:
        """Wait for the process to end, for whatever reason, and return its exit code (negative: a signal)."""
        return await self.process.wait()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process, as a fault would."""
        send(self.process, number)

    async def _start_on_a_port(self, preferred: int) -> None:
        """Start the process and wait until it is ready, with another port if somebody else has taken the chosen one."""
        fixed = self.port
        for _ in range(_PORT_TRIES):
            self.port = fixed or ports.choose(preferred, self._avoid_port)
            process = self._process = await self._launch()
            deadline = time.monotonic() + _READY_WITHIN
            while process.returncode is None and time.monotonic() < deadline:
                if await self.is_ready():
                    return
                await asyncio.sleep(_POLL)
            await self.stop()
            if "ddress already in use" not in self._logged():
                break
        self.port = fixed
        raise EmbeddedError(f"{self.title} did not start: {self.last_error()} (see {self.log})")

    async def _launch(self) -> Process:
        """Start the process, with its output in the log."""
        if self.log.exists() and self.log.stat().st_size > _MAX_LOG:
            self.log.replace(self.log.with_suffix(".log.old"))
        output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start = os.fstat(output).st_size
        try:
            return await launch(replace(self.program(), user=server_user(self.data), output=output))
        finally:
            os.close(output)

    def last_error(self) -> str:
        """Return the line, of those logged since the last start, that tells most: the last error, or the last line."""
        lines = [line.strip() for line in self._logged().splitlines() if line.strip()]
        errors = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "rror"))]
        return (errors or lines or ["it said nothing"])[-1]

    def _logged(self) -> str:
        """Return what the server has logged since its last start."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")
