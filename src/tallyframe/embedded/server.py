"""What the two embedded servers have in common: a folder, a port, a password, a log, a start and an end."""

import asyncio
import os
import secrets
import signal
import time
from abc import ABC, abstractmethod
from asyncio.subprocess import Process
from pathlib import Path
from typing import ClassVar

from tallyframe.embedded import ports
from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.files import make_folder, make_server_folder, read_json, server_user, write_json, writing
from tallyframe.embedded.processes import Program, Steps, end, launch

_READY_WITHIN = 60.0  # seconds; recovery after a crash is part of it
_POLL = 0.01  # seconds
_PORT_TRIES = 3  # somebody may take the port between our choice and the server's start
_MAX_LOG = 1024 * 1024  # bytes, after which the log is moved to .old at the next start


class Server(ABC):
    """A server on a loopback port, with its data in `folder/<name>`, its log and its 0600 secrets file beside that.

    `durable=False` trades the data's safety in a power cut for speed. `avoid_port` is a port that others want. Once
    `hurry` is set, `stop` waits no longer than it must. One object is used by one task at a time.
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
    def pid(self) -> int:
        """The process id; raises EmbeddedError if the server does not run."""
        return self._running().pid

    @property
    @abstractmethod
    def url(self) -> str:
        """The URL for clients, password included; valid after `start`, and for good."""

    async def start(self) -> None:
        """Start the server and wait until it serves; raises EmbeddedError, one line, if it does not.

        It takes the port of the last time if that is free; later starts of this object insist on the same one.
        """
        if self._process is not None and self._process.returncode is None:
            return
        make_folder(self.folder)
        with writing(self.folder):
            await self._start()

    async def stop(self) -> None:
        """End the server in good order, if it runs; what does not end in time is killed."""
        process, self._process = self._process, None
        if process is not None:
            await end(process, self.end_steps, self._hurry)

    async def wait(self) -> int:
        """Wait for the process to end, for whatever reason, and return its exit code (negative: a signal)."""
        return await self._running().wait()

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Send a signal to the process, as a fault would."""
        self._running().send_signal(number)

    @abstractmethod
    def _knows_a_password(self) -> bool:
        """Whether the data folder holds data that opens with one password only."""

    @abstractmethod
    async def _prepare(self) -> None:
        """Make the data folder fit for a start."""

    @abstractmethod
    def _program(self) -> Program:
        """Say what to run, on `self.port`; `launch` adds user and log."""

    @abstractmethod
    async def _is_ready(self) -> bool:
        """Whether the server takes clients."""

    def _running(self) -> Process:
        if self._process is None:
            raise EmbeddedError(f"{self.title} is not running.")
        return self._process

    async def _start(self) -> None:
        known = read_json(self._secrets)
        if "password" not in known and self._knows_a_password():
            raise EmbeddedError(f"{self._secrets} is gone, and with it the password for the data beside it.")
        self.password = str(known.get("password") or secrets.token_urlsafe(24))
        write_json(self._secrets, {"password": self.password, "port": known.get("port", 0)})
        make_server_folder(self.data, server_user(self.data))
        await self._prepare()
        await self._start_on_a_port(int(known.get("port", 0)))
        write_json(self._secrets, {"password": self.password, "port": self.port})

    async def _start_on_a_port(self, preferred: int) -> None:
        fixed = self.port
        for _ in range(_PORT_TRIES):
            self.port = fixed or ports.choose(preferred, self._avoid_port)
            await self._spawn()
            if await self._came_up():
                return
            await self.stop()
            if "ddress already in use" not in self._said():
                break
        self.port = fixed
        raise EmbeddedError(f"{self.title} did not start: {self._reason()} (see {self.log})")

    async def _spawn(self) -> None:
        """Start the process with its output in the log."""
        self._rotate_log()
        with writing(self.folder):
            output = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._log_start = os.fstat(output).st_size
        try:
            self._process = await launch(self._with(self._program(), output))
        finally:
            os.close(output)

    def _with(self, program: Program, output: int) -> Program:
        return Program(**{**vars(program), "user": server_user(self.data), "output": output})

    async def _came_up(self) -> bool:
        """Wait until the server serves, or has ended, or is out of time."""
        process, deadline = self._running(), time.monotonic() + _READY_WITHIN
        while process.returncode is None and time.monotonic() < deadline:
            if await self._is_ready():
                return True
            await asyncio.sleep(_POLL)
        return False

    def _rotate_log(self) -> None:
        with writing(self.folder):
            if self.log.exists() and self.log.stat().st_size > _MAX_LOG:
                self.log.replace(self.log.with_suffix(".log.old"))

    def _said(self) -> str:
        """What the server wrote in its log since its last start."""
        with self.log.open("rb") as file:
            file.seek(self._log_start)
            return file.read().decode(errors="replace")

    def _reason(self) -> str:
        """The line of the log that tells most: the last that claims to, or just the last."""
        lines = [line.strip() for line in self._said().splitlines() if line.strip()]
        telling = [line for line in lines if any(word in line for word in ("FATAL", "PANIC", "rror"))]
        return (telling or lines or ["it said nothing"])[-1]
