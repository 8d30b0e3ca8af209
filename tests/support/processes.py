"""Real API and worker processes, as operators run them."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic

import httpx

from tallyframe.db import ADMIN_ROLE, Database
from tallyframe.settings import Settings
from tallyframe.workers.heartbeat import present

PATIENCE = 90.0  # seconds for what takes one or two on an idle machine


@dataclass
class Process:
    popen: "subprocess.Popen[bytes]"
    log: Path

    @property
    def text(self) -> str:
        """All that the process has logged so far."""
        return self.log.read_text()

    def send(self, number: signal.Signals) -> None:
        self.popen.send_signal(number)

    async def wait(self, seconds: float = PATIENCE) -> int:
        return await asyncio.to_thread(self.popen.wait, seconds)

    async def until_logged(self, text: str, seconds: float = PATIENCE) -> None:
        until = monotonic() + seconds
        while text not in self.text:
            assert self.popen.poll() is None, self.text
            assert monotonic() < until, f"{text!r} was never logged:\n{self.text}"
            await asyncio.sleep(0.02)


@dataclass
class Processes:
    settings: Settings
    started: list[Process] = field(default_factory=list)

    def environment(self, **more: str) -> dict[str, str]:
        settings = self.settings
        ours = {
            "DATABASE_URL": settings.server.database_url.get_secret_value(),
            "POOLER_URL": settings.server.pooler_url.get_secret_value(),
            "REDIS_URL": settings.server.redis_url.get_secret_value(),
            "DATA_DIR": str(settings.server.data_dir),
            "PUBLIC_URL": settings.server.public_url,
            "LEASE_SECONDS": str(settings.workers.lease_seconds),
            "HEARTBEAT_SECONDS": str(settings.workers.heartbeat_seconds),
            "LOG_FORMAT": "json",
        }
        return {**os.environ, **{f"TALLYFRAME_{name}": value for name, value in ours.items()}, **more}

    def start(self, *arguments: str, **environment: str) -> Process:
        self.settings.server.data_dir.mkdir(parents=True, exist_ok=True)
        log = self.settings.server.data_dir / f"{arguments[0]}-{len(self.started)}.log"
        with log.open("wb") as output:
            popen = subprocess.Popen(
                [sys.executable, "-m", "tallyframe", *arguments],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=self.environment(**environment),
            )
        self.started.append(Process(popen, log))
        return self.started[-1]

    async def worker(self, **environment: str) -> Process:
        """Start a worker process; return it once it is one of those that are there."""
        process = self.start("worker", **environment)
        await process.until_logged("worker_started")
        url, until = self.settings.server.database_url.get_secret_value(), monotonic() + PATIENCE
        db = Database(url, role=ADMIN_ROLE, pool_size=1, statement_timeout=15)
        while not any(name.endswith(f":{process.popen.pid}") for name in await present(db)):
            assert process.popen.poll() is None, process.text
            assert monotonic() < until, process.text
            await asyncio.sleep(0.02)
        await db.close()
        return process

    async def api(self, **environment: str) -> tuple[Process, str]:
        """Start an API process; return it and its URL once it answers."""
        port = free_port()
        process = self.start("api", "--port", str(port), **environment)
        url = f"http://127.0.0.1:{port}"
        async with httpx.AsyncClient() as client:
            until = monotonic() + PATIENCE
            while monotonic() < until:
                try:
                    if (await client.get(f"{url}/healthz")).status_code == 200:
                        return process, url
                except httpx.TransportError:
                    assert process.popen.poll() is None, process.text
                await asyncio.sleep(0.02)
        raise AssertionError(process.text)

    async def end_all(self) -> None:
        for process in self.started:
            if process.popen.poll() is None:
                process.popen.kill()
            await process.wait()


_held: list[socket.socket] = []


def free_port() -> int:
    """A port for a server that we start; on Linux, nobody else is given it while these tests run.

    There, a socket that is bound and does not listen keeps the port from whoever asks for just any, as tests beside us
    do all the time, and leaves it to a server that asks for this one.
    """
    probe = socket.socket()
    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    probe.bind(("127.0.0.1", 0))
    port = int(probe.getsockname()[1])
    if sys.platform == "linux":
        _held.append(probe)
    else:
        probe.close()
    return port
