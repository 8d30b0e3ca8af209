"""All of Tallyframe on one machine, in one call: both servers, the migrations, the API and the worker."""

import asyncio
import logging
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

from tallyframe.embedded import ports
from tallyframe.embedded.command import Command
from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.files import read_json, write_json, writing
from tallyframe.embedded.lock import locked
from tallyframe.embedded.processes import describe_exit
from tallyframe.embedded.server import Server
from tallyframe.embedded.servers import running

_READY_WITHIN = 60.0  # seconds from the start of API and worker
_POLL = 0.05  # seconds
_PATIENCE = 2.0  # seconds for one answer of /readyz
_PAUSE = 1.0  # seconds before a part that died is started again
_STACK_FILE = "stack.json"
_log = logging.getLogger("tallyframe.embedded")


@dataclass(frozen=True)
class Plan:
    """What to run, and where.

    `api` and `worker` are command lines. `env` is their environment, to which `TALLYFRAME_DATABASE_URL`, `_REDIS_URL`,
    `_DATA_DIR` and, unless it is there, `_PUBLIC_URL` are added. `prepare` is called with the database's URL before
    they start; it migrates, and returns the keys to show: `admin_api_key` and `api_key`. `worker_ready` is called with
    the database's URL until it returns True. `on_ready` is called with the content of stack.json when all is ready.
    """

    data_dir: Path
    port: int
    api: Sequence[str]
    worker: Sequence[str]
    env: Mapping[str, str]
    prepare: Callable[[str], Awaitable[Mapping[str, str]]]
    worker_ready: Callable[[str], Awaitable[bool]]
    on_ready: Callable[[Mapping[str, str]], None]

    @property
    def url(self) -> str:
        """The address of the API."""
        return f"http://{ports.LOOPBACK}:{self.port}"


async def run(plan: Plan) -> None:
    """Run the stack until SIGINT, SIGTERM or SIGHUP; leaves no process behind. A second signal hurries the end.

    `data_dir/stack.json` exists while the stack is ready. Raises EmbeddedError if it cannot start or go on.
    """
    stop, hurry = asyncio.Event(), asyncio.Event()
    with _signals_set(stop, hurry):
        await _first_of(stop.wait(), _serve(plan, hurry))


def read_stack(data_dir: Path) -> dict[str, str]:
    """Return the content of stack.json of the stack that runs in `data_dir`; raises EmbeddedError if none does."""
    found = read_json(data_dir / _STACK_FILE)
    if not found:
        raise EmbeddedError(f"No running stack in {data_dir}; start one with: tallyframe dev --data-dir {data_dir}")
    return {name: str(value) for name, value in found.items()}


@contextmanager
def _signals_set(stop: asyncio.Event, hurry: asyncio.Event) -> Iterator[None]:
    """Let the first signal to end set `stop`, and every further one `hurry`."""
    loop, numbers = asyncio.get_running_loop(), [signal.SIGINT, signal.SIGTERM]
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it, to outlive the terminal
        numbers.append(signal.SIGHUP)

    def on_signal() -> None:
        (hurry if stop.is_set() else stop).set()

    for number in numbers:
        loop.add_signal_handler(number, on_signal)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)


async def _serve(plan: Plan, hurry: asyncio.Event) -> None:
    """Bring up one part after the other and keep them running. However this ends, all parts end, the last one first."""
    stack_file = plan.data_dir / _STACK_FILE
    async with AsyncExitStack() as ends:
        ends.enter_context(locked(plan.data_dir))
        with writing(plan.data_dir):
            stack_file.unlink(missing_ok=True)  # left by a stack that crashed
        if not ports.is_free(plan.port):
            raise EmbeddedError(f"Port {plan.port} is in use; choose another with --port.")
        servers = await ends.enter_async_context(running(plan.data_dir, avoid_port=plan.port, hurry=hurry))
        keys = await plan.prepare(servers.database_url)
        env = {
            "TALLYFRAME_PUBLIC_URL": plan.url,
            **plan.env,
            "TALLYFRAME_DATABASE_URL": servers.database_url,
            "TALLYFRAME_REDIS_URL": servers.redis_url,
            "TALLYFRAME_DATA_DIR": str(servers.postgres.folder),
        }
        commands = [Command("api", plan.api, env, hurry=hurry), Command("worker", plan.worker, env, hurry=hurry)]
        for command in commands:
            ends.push_async_callback(command.stop)
            await command.start()
        await _first_of(_until_ready(plan, servers.database_url), *(_fail_if_it_ends(command) for command in commands))
        content = {"url": plan.url, "database_url": servers.database_url, "redis_url": servers.redis_url, **keys}
        ends.callback(stack_file.unlink, missing_ok=True)
        write_json(stack_file, content)
        plan.on_ready(content)
        parts: list[Server | Command] = [servers.postgres, servers.valkey, *commands]
        await _first_of(*(_keep_running(part) for part in parts))


async def _until_ready(plan: Plan, database_url: str) -> None:
    """Wait until the API answers /readyz with 200 and the worker is ready; raises EmbeddedError after a minute."""
    import httpx  # takes long to load, and most of those who import us only read stack.json

    async def api_ready(client: httpx.AsyncClient) -> bool:
        try:
            return (await client.get("/readyz")).status_code == httpx.codes.OK
        except httpx.HTTPError:
            return False

    try:
        async with (
            asyncio.timeout(_READY_WITHIN),
            httpx.AsyncClient(base_url=plan.url, timeout=_PATIENCE, trust_env=False) as client,
        ):
            while True:
                if await api_ready(client) and await plan.worker_ready(database_url):
                    return
                await asyncio.sleep(_POLL)
    except TimeoutError:
        raise EmbeddedError(f"API and worker were not ready within {_READY_WITHIN:.0f} seconds.") from None


async def _fail_if_it_ends(command: Command) -> None:
    code = await command.wait()
    raise EmbeddedError(f"{command.title} could not start ({describe_exit(code)}); see its output above.")


async def _keep_running(part: Server | Command) -> None:
    """Start the part again whenever it dies; raises EmbeddedError if that fails."""
    while True:
        code = await part.wait()
        _log.warning("%s died (%s); it starts again in %g s.", part.title, describe_exit(code), _PAUSE)
        await asyncio.sleep(_PAUSE)
        await part.start()


async def _first_of(*coroutines: Coroutine[None, None, object]) -> None:
    """Run them side by side until one returns or fails; cancel the others, wait for them, raise the failure."""
    tasks = [asyncio.create_task(coroutine) for coroutine in coroutines]
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.wait(tasks)
    for task in tasks:
        if not task.cancelled():
            task.result()
