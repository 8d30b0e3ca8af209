"""Starts all that a run needs: servers, vendor, API and worker processes, and a proxy on every link between them."""

import asyncio
import os
import random
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from urllib.parse import urlsplit

import httpx

import tallyframe
from chaos.children import Child
from chaos.plan import Plan
from chaos.proxy import Proxy, link
from chaos.telling import ISSUER, SECRET
from chaos.vendor import CALM_FILE
from tallyframe.embedded import Servers, servers
from tallyframe.embedded.ports import LOOPBACK, choose
from tallyframe.migrate import migrate
from tests.support.google_all import KEY

ROOT = Path(__file__).parents[1]
UNDER_TEST = Path(tallyframe.__file__).parents[1]  # the same for every process, whatever folder it runs in


@dataclass
class Stack:
    """All that runs. `links`: proxies by name, such as "worker-1 to vendor". `apis`: addresses for clients, by name."""

    plan: Plan
    folder: Path
    servers: Servers
    links: dict[str, Proxy] = field(default_factory=dict)
    children: dict[str, Child] = field(default_factory=dict)
    apis: dict[str, str] = field(default_factory=dict)
    ports: dict[str, int] = field(default_factory=dict)  # of the API processes themselves, without a proxy
    batches_url: str = ""  # of the database, for whoever orders many at once

    @property
    def media(self) -> Path:
        """The folder in which API and workers store media."""
        return self.folder / "data" / "media"

    def named(self, start: str) -> list[str]:
        """Return the children's names that start with `start`."""
        return [name for name in self.children if name.startswith(start)]

    def calm_the_vendor(self) -> None:
        """End the vendor's faults."""
        (self.folder / CALM_FILE).touch()

    async def run(self, *arguments: str) -> tuple[int, str]:
        """Run a command of Tallyframe, without proxies; return its exit code and its output."""
        return await run_command(
            self.folder, self.settings(self.servers.database_url, self.servers.redis_url), *arguments
        )

    def settings(self, database_url: str, redis_url: str, vendor_url: str = "") -> dict[str, str]:
        """Return the environment of a Tallyframe process: short times, so that more happens; else the defaults."""
        plan = self.plan
        ours = {
            "DATABASE_URL": database_url,
            "REDIS_URL": redis_url,
            "DATA_DIR": self.folder / "data",
            "PUBLIC_URL": next(iter(self.apis.values()), "http://127.0.0.1:8000"),
            "LEASE_SECONDS": plan.lease,
            "HEARTBEAT_SECONDS": plan.lease * 0.3,
            "GENERATION_MAX_AGE": plan.max_age,
            "STATEMENT_TIMEOUT": 5,
            "SHUTDOWN_GRACE": plan.vendor_timeout + 2,
            "IMAGE_PROVIDERS": "gemini",
            "TEXT_PROVIDERS": "gemini",
            "VISION_PROVIDERS": "gemini",
            "VIDEO_PROVIDERS": "omni",
            "IMAGE_SIZE": "512",
            "PROVIDER_TIMEOUT": plan.vendor_timeout,
            "PROVIDER_POLL": 0.5,
            "PROVIDER_CONCURRENCY": 100,  # the slot of a killed worker's call stays taken for a minute
            "BREAKER_COOLDOWN": 2,
            "GEMINI_BASE_URL": vendor_url,
            "AUDIT_INTERVAL": 5,
            "AUTH_ISSUER": ISSUER,
            "AUTH_AUDIENCE": "nobody",
            "HEADER_TIMEOUT": plan.header_timeout,
            "STALLED_TIMEOUT": plan.stalled_timeout,
        }
        keys = {"GEMINI_API_KEY": KEY, "CLERK_WEBHOOK_SIGNING_SECRET": SECRET}
        return keys | {f"TALLYFRAME_{name}": str(value) for name, value in ours.items()}


@asynccontextmanager
async def stack(plan: Plan, folder: Path) -> AsyncIterator[Stack]:
    """Run all of it for the block, with a migrated database that survives a crash; end all of it afterwards."""
    async with AsyncExitStack() as exits:
        both = await exits.enter_async_context(servers(folder / "data", durable=True))
        await asyncio.to_thread(migrate, both.database_url)
        built = Stack(plan, folder, both)
        await _start(built, exits)
        yield built


async def _start(built: Stack, exits: AsyncExitStack) -> None:
    vendor_port = choose(0, 0)
    arguments = [str(vendor_port), str(built.plan.seed), str(built.plan.vendor_timeout), str(built.folder)]
    arguments += ["stuck"] if built.plan.is_stuck_at_times else []
    vendor = _child(built, "vendor", ["-m", "chaos.vendor", *arguments], {})
    apis = [await _api(built, exits, number) for number in range(1, built.plan.apis + 1)]
    workers = [await _worker(built, exits, number, vendor_port) for number in range(1, built.plan.workers + 1)]
    port = urlsplit(built.servers.database_url).port or 0
    built.batches_url = (await _link(built, exits, "batches to postgres", port)).instead_of(built.servers.database_url)
    everybody = [vendor, *apis, *workers]
    exits.push_async_callback(lambda: asyncio.gather(*(child.stop() for child in everybody)))
    for child in everybody:
        await child.start()
    await asyncio.gather(*(child.until_up() for child in everybody))


async def _api(built: Stack, exits: AsyncExitStack, number: int) -> Child:
    name, port = f"api-{number}", choose(0, 0)
    proxy = await _link(built, exits, f"client to {name}", port)
    built.ports[name] = port
    built.apis[name] = f"http://{LOOPBACK}:{proxy.port}"
    settings = built.settings(*await _server_links(built, exits, name))
    return _child(built, name, ["-m", "chaos.under_test", "api", "--port", str(port)], settings)


async def _worker(built: Stack, exits: AsyncExitStack, number: int, vendor_port: int) -> Child:
    name = f"worker-{number}"
    proxy = await _link(built, exits, f"{name} to vendor", vendor_port)
    settings = built.settings(*await _server_links(built, exits, name), f"http://{LOOPBACK}:{proxy.port}")
    return _child(built, name, ["-m", "chaos.under_test", "worker"], settings)


async def _server_links(built: Stack, exits: AsyncExitStack, name: str) -> tuple[str, str]:
    """Open the links of a process to both servers; return their URLs."""
    urls = {"postgres": built.servers.database_url, "redis": built.servers.redis_url}
    found = [
        (await _link(built, exits, f"{name} to {server}", urlsplit(url).port or 0)).instead_of(url)
        for server, url in urls.items()
    ]
    return found[0], found[1]


async def _link(built: Stack, exits: AsyncExitStack, name: str, port: int) -> Proxy:
    built.links[name] = await exits.enter_async_context(link(LOOPBACK, port))
    return built.links[name]


def _child(built: Stack, name: str, arguments: list[str], settings: Mapping[str, str]) -> Child:
    lot = random.Random(f"{built.plan.seed}:{name}")
    environment = {**surroundings(), "PYTHONPATH": f"{ROOT}:{UNDER_TEST}", **settings}
    child = Child(name, [sys.executable, *arguments], environment, built.folder, lot, partial(_is_up, built, name))
    built.children[name] = child
    return child


async def _is_up(built: Stack, name: str) -> bool:
    return await serves(built.children[name], built.apis.get(name, ""))


async def serves(child: Child, url: str) -> bool:
    """Tell whether a process serves: an API, which has a URL, answers /readyz; another logs that it has started."""
    if not url:
        return child.runs and "_started" in child.output()
    with suppress(httpx.HTTPError):
        async with httpx.AsyncClient(trust_env=False) as http:
            return (await http.get(f"{url}/readyz")).is_success
    return False


async def run_command(folder: Path, settings: Mapping[str, str], *arguments: str) -> tuple[int, str]:
    """Run a command of Tallyframe in a folder, with these settings; return its exit code and its output."""
    environment = {**surroundings(), "PYTHONPATH": str(UNDER_TEST), **settings}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tallyframe", *arguments, env=environment, cwd=folder, stdout=-1, stderr=-2
    )
    printed, _ = await process.communicate()
    return process.returncode or 0, printed.decode(errors="replace")


def surroundings() -> dict[str, str]:
    """Return our environment without settings and keys of whoever runs this."""
    ours = ("TALLYFRAME_", "PG", "GEMINI", "GOOGLE", "OPENAI", "CLERK", "CLOUDINARY", "AWS_", "SENTRY", "OTEL")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
