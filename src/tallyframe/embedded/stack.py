"""The whole of Tallyframe on one machine, in one call: both servers, the preparation, the API and the worker."""

import asyncio
import logging
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tallyframe.embedded import ports
from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.files import read_json, write_json, writing
from tallyframe.embedded.lock import locked
from tallyframe.embedded.processes import Backoff, describe_exit
from tallyframe.embedded.server import Server
from tallyframe.embedded.servers import Servers, running
from tallyframe.embedded.supervisor import Command, Supervisor

_READY_WITHIN = 60.0  # seconds from the start of API and worker
_POLL = 0.05  # seconds
_PATIENCE = 2.0  # seconds for one answer of /readyz
_log = logging.getLogger("tallyframe.embedded")


@dataclass(frozen=True)
class Plan:
    """What to run, and where.

    `api` and `worker` are command lines, `env` the environment that they get, with `TALLYFRAME_DATABASE_URL`,
    `_REDIS_URL`, `_DATA_DIR` and, unless it has one, `_PUBLIC_URL` added. `prepare` is given the database's URL before
    they start, migrates, and returns the keys to show, `admin_api_key` and `api_key`. `worker_ready` is asked, with the
    database's URL, until it says yes; without it, a worker that cannot start may go unnoticed once the API is up.
    `on_ready` is given what stack.json holds, once all is up.
    """

    data_dir: Path
    port: int
    api: Sequence[str]
    worker: Sequence[str]
    env: Mapping[str, str]
    prepare: Callable[[str], Awaitable[Mapping[str, str]]]
    on_ready: Callable[[Mapping[str, str]], None]
    worker_ready: Callable[[str], Awaitable[bool]] | None = None

    @property
    def url(self) -> str:
        """Where the API is to be found."""
        return f"http://{ports.LOOPBACK}:{self.port}"


async def run(plan: Plan) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; leaves no process behind. A second signal hurries the end.

    `data_dir/stack.json` is there while the stack is ready. Raises EmbeddedError, one line, if it cannot come up
    or stay up.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()
    async with _signals(stop, hurry):
        serving, stopped = asyncio.create_task(_serve(plan, hurry)), asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopped.cancel()
            serving.cancel()
            await asyncio.wait({serving})
        if not serving.cancelled():
            serving.result()


def read_stack(data_dir: Path) -> dict[str, str]:
    """Read what the stack that runs in `data_dir` wrote down; raises EmbeddedError if none does."""
    found = read_json(_stack_file(data_dir))
    if not found:
        raise EmbeddedError(f"No running stack in {data_dir}; start one with: tallyframe dev --data-dir {data_dir}")
    return {name: str(value) for name, value in found.items()}


def _stack_file(data_dir: Path) -> Path:
    return data_dir / "stack.json"


@asynccontextmanager
async def _signals(stop: asyncio.Event, hurry: asyncio.Event) -> AsyncIterator[None]:
    """Let the first signal set `stop`, and later ones `hurry`."""
    loop, each = asyncio.get_running_loop(), [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup leaves it, to outlive the terminal
        each.append(signal.SIGHUP)

    def asked() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in each:
        loop.add_signal_handler(number, asked)
    try:
        yield
    finally:
        for number in each:
            loop.remove_signal_handler(number)


async def _serve(plan: Plan, hurry: asyncio.Event) -> None:
    """Bring up one part after the other and stay; however this ends, all are ended in the opposite order."""
    async with AsyncExitStack() as stack:
        stack.enter_context(locked(plan.data_dir))
        _clear_the_way(plan)
        both = await stack.enter_async_context(running(plan.data_dir, avoid_port=plan.port, hurry=hurry))
        keys = await plan.prepare(both.database_url)
        supervisor = Supervisor(_commands(plan, both), hurry=hurry)
        stack.push_async_callback(supervisor.stop)
        supervisor.start()
        stack.callback(_stack_file(plan.data_dir).unlink, missing_ok=True)
        stay = _announce(plan, both, keys, supervisor)
        await _first_of(stay, supervisor.failed(), _keep(both.postgres), _keep(both.valkey))


async def _announce(plan: Plan, both: Servers, keys: Mapping[str, str], supervisor: Supervisor) -> None:
    """Tell everybody once all is ready, and stay."""
    await _ready(plan, both)
    supervisor.settle()
    plan.on_ready(_write_down(plan, both, keys))
    await asyncio.Event().wait()


def _clear_the_way(plan: Plan) -> None:
    """Refuse a port that is taken, and forget a stack that crashed."""
    with writing(plan.data_dir):
        _stack_file(plan.data_dir).unlink(missing_ok=True)
    if not ports.is_free(plan.port):
        raise EmbeddedError(f"Port {plan.port} is in use; choose another with --port.")


def _commands(plan: Plan, both: Servers) -> list[Command]:
    """The worker and the API, in the order in which they are to end."""
    env = {
        "TALLYFRAME_PUBLIC_URL": plan.url,
        **plan.env,
        "TALLYFRAME_DATABASE_URL": both.database_url,
        "TALLYFRAME_REDIS_URL": both.redis_url,
        "TALLYFRAME_DATA_DIR": str(both.postgres.folder),
    }
    return [Command("worker", plan.worker, env), Command("api", plan.api, env)]


def _write_down(plan: Plan, both: Servers, keys: Mapping[str, str]) -> dict[str, str]:
    """Write stack.json and return what is in it."""
    content = {"url": plan.url, "database_url": both.database_url, "redis_url": both.redis_url, **keys}
    write_json(_stack_file(plan.data_dir), content)
    return content


async def _ready(plan: Plan, both: Servers) -> None:
    """Wait until API and worker are ready; raises EmbeddedError after a minute."""
    try:
        async with asyncio.timeout(_READY_WITHIN):
            await _until(lambda: _answers(plan.port))
            if (worker_ready := plan.worker_ready) is not None:
                await _until(lambda: worker_ready(both.database_url))
    except TimeoutError:
        raise EmbeddedError(f"API and worker were not ready within {_READY_WITHIN:.0f} seconds.") from None


async def _until(check: Callable[[], Awaitable[bool]]) -> None:
    """Ask again and again until the answer is yes."""
    while True:
        if await check():
            return
        await asyncio.sleep(_POLL)


async def _answers(port: int) -> bool:
    """Whether GET /readyz gives 200."""
    with suppress(OSError, TimeoutError):
        async with asyncio.timeout(_PATIENCE):
            reader, writer = await asyncio.open_connection(ports.LOOPBACK, port)
            try:
                writer.write(f"GET /readyz HTTP/1.1\r\nHost: {ports.LOOPBACK}\r\nConnection: close\r\n\r\n".encode())
                return b" 200 " in await reader.readline()
            finally:
                writer.close()
                with suppress(OSError):
                    await writer.wait_closed()
    return False


async def _first_of(*each: Coroutine[None, None, None]) -> None:
    """Wait until one of them is done or fails, give up the others, and raise its failure."""
    tasks = [asyncio.create_task(one) for one in each]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)


async def _keep(server: Server) -> None:
    """Start the server again whenever it dies; raises EmbeddedError if that fails."""
    backoff = Backoff()
    while True:
        began = time.monotonic()
        code = await server.wait()
        wait = backoff.after(time.monotonic() - began)
        _log.warning("%s died (%s); it starts again in %.1f s.", server.title, describe_exit(code), wait)
        await asyncio.sleep(wait)
        await server.start()
