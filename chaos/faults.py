"""What can be done to the stack: each kind of fault, on whom, and how it ends.

Every function does its fault, waits for as long as it lasts and has undone it when it returns. Killed processes come
back by themselves (`chaos/children.py`); servers are started again here.
"""

import asyncio
import random
import shutil
import signal
from asyncio import sleep
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil

from chaos.proxy import MODES, Mode
from chaos.stack import Stack
from tallyframe.outbox.relay import connect

_MOST_BYTES = 3000  # of an answer, before it is reset in its middle
_BEYOND_LEASE = (1.0, 3.0)  # seconds


@dataclass(frozen=True, slots=True)
class Where:
    """A fault to be: who is hit, for how many seconds, and chance for the details."""

    stack: Stack
    target: str
    seconds: float
    lot: random.Random


async def kill(where: Where) -> None:
    """End a process at once, as the kernel does when memory is short."""
    where.stack.children[where.target].signal(signal.SIGKILL)


async def stop(where: Where) -> None:
    """Ask a process to end in good order, as a deploy does."""
    where.stack.children[where.target].signal(signal.SIGTERM)


async def freeze(where: Where) -> None:
    """Stop a process in its tracks, and let it go on: a pause of its machine."""
    child = where.stack.children[where.target]
    child.signal(signal.SIGSTOP)
    try:
        await sleep(where.seconds)
    finally:
        child.signal(signal.SIGCONT)


async def make_zombie(where: Where) -> None:
    """Freeze a worker until its leases are long gone."""
    beyond = where.stack.plan.lease + where.lot.uniform(*_BEYOND_LEASE)
    await freeze(Where(where.stack, where.target, beyond, where.lot))


async def freeze_redis(where: Where) -> None:
    """Let Redis keep its connections and say nothing."""
    with _frozen([psutil.Process(where.stack.servers.valkey.pid)]):
        await sleep(where.seconds)


async def kill_redis(where: Where) -> None:
    """End Redis at once, and let it come back with its memory gone."""
    valkey = where.stack.servers.valkey
    valkey.kill()
    await valkey.wait()
    await asyncio.to_thread(shutil.rmtree, valkey.data / "appendonlydir", ignore_errors=True)
    await sleep(where.seconds)
    await valkey.start()


async def flush_redis(where: Where) -> None:
    """Let Redis forget everything."""
    redis = connect(where.stack.servers.redis_url)
    try:
        await redis.flushall()
    finally:
        await redis.aclose(close_connection_pool=True)


async def freeze_backends(where: Where) -> None:
    """Stop some of the processes that serve Postgres' clients, with the locks that they hold."""
    serving = [one for one in _processes_of_postgres(where.stack) if "tallyframe tallyframe" in " ".join(one.cmdline())]
    some = where.lot.sample(serving, where.lot.randint(1, len(serving))) if serving else []
    with _frozen(some):
        await sleep(where.seconds)


async def crash_postgres(where: Where) -> None:
    """End Postgres at once, without a checkpoint, and let it recover."""
    postgres = where.stack.servers.postgres
    postgres.kill(signal.SIGQUIT)
    await postgres.wait()
    await sleep(where.seconds)
    await postgres.start()


def on_link(mode: Mode) -> Callable[[Where], Awaitable[None]]:
    """Return the fault that puts a link into this mode."""

    async def do(where: Where) -> None:
        after = where.lot.randint(1, _MOST_BYTES)
        with where.stack.links[where.target].switched(mode, seconds=where.seconds / 2, after_bytes=after):
            await sleep(where.seconds)

    return do


async def cut(where: Where) -> None:
    """Reset all connections of a link, once."""
    where.stack.links[where.target].cut()


async def forget(where: Where) -> None:
    """Let the open connections of a link be dead for good, without a word: what is left of a machine without power."""
    where.stack.links[where.target].forget()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `on` is what it hits: the start of children's names, "redis", "postgres", or "link"."""

    name: str
    on: str
    do: Callable[[Where], Awaitable[None]]

    def targets(self, stack: Stack) -> list[str]:
        """Return whom it may hit."""
        if self.on == "link":
            return list(stack.links)
        return stack.named(self.on) or [self.on]


KINDS: tuple[Kind, ...] = (
    Kind("kill api", "api", kill),
    Kind("kill worker", "worker", kill),
    Kind("stop api", "api", stop),
    Kind("stop worker", "worker", stop),
    Kind("freeze api", "api", freeze),
    Kind("freeze worker beyond its lease", "worker", make_zombie),
    Kind("freeze redis", "redis", freeze_redis),
    Kind("kill redis, memory gone", "redis", kill_redis),
    Kind("flush redis", "redis", flush_redis),
    Kind("freeze postgres' backends", "postgres", freeze_backends),
    Kind("crash postgres", "postgres", crash_postgres),
    Kind("link: cut", "link", cut),
    Kind("link: forget", "link", forget),
    *(Kind(f"link: {mode.replace('_', ' ')}", "link", on_link(mode)) for mode in MODES if mode != "pass"),
)


def _processes_of_postgres(stack: Stack) -> list[psutil.Process]:
    return psutil.Process(stack.servers.postgres.pid).children(recursive=True)


@contextmanager
def _frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """Stop them for the block; who has ended meanwhile is left alone."""
    try:
        for process in processes:
            _send(process, signal.SIGSTOP)
        yield
    finally:
        for process in processes:
            _send(process, signal.SIGCONT)


def _send(process: psutil.Process, number: signal.Signals) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)
