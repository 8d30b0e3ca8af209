"""What can be done to the stack: each kind of fault, on whom, and how it ends.

Every function does its fault, waits for as long as it lasts and has undone it when it returns, with whether it had
an effect: a link on which nobody speaks can't be cut. Killed processes come back by themselves (`chaos/children.py`);
servers are started again here.
"""

import asyncio
import random
import re
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
_NUMBER = re.compile(r"-\d+")


@dataclass(frozen=True, slots=True)
class Where:
    """A fault to be: who is hit, for how many seconds, and chance for the details."""

    stack: Stack
    target: str
    seconds: float
    lot: random.Random


async def kill(where: Where) -> bool:
    """End a process at once, as the kernel does when memory is short."""
    return where.stack.children[where.target].signal(signal.SIGKILL)


async def kill_all(where: Where) -> bool:
    """End all processes of a kind at once: workers, apis."""
    names = where.stack.named(where.target.removesuffix("s"))
    hit = [where.stack.children[name].signal(signal.SIGKILL) for name in names]
    return any(hit)


async def stop(where: Where) -> bool:
    """Ask a process to end in good order, as a deploy does."""
    return where.stack.children[where.target].signal(signal.SIGTERM)


async def freeze(where: Where) -> bool:
    """Stop a process in its tracks, and let it go on: a pause of its machine."""
    child = where.stack.children[where.target]
    froze = child.signal(signal.SIGSTOP)
    try:
        await sleep(where.seconds if froze else 0)
    finally:
        child.signal(signal.SIGCONT)
    return froze


async def make_zombie(where: Where) -> bool:
    """Freeze a worker until its leases are long gone."""
    beyond = where.stack.plan.lease + where.lot.uniform(*_BEYOND_LEASE)
    return await freeze(Where(where.stack, where.target, beyond, where.lot))


async def freeze_redis(where: Where) -> bool:
    """Let Redis keep its connections and say nothing."""
    with _frozen([psutil.Process(where.stack.servers.valkey.pid)]):
        await sleep(where.seconds)
    return True


async def kill_redis(where: Where) -> bool:
    """End Redis at once, and let it come back with its memory gone."""
    valkey = where.stack.servers.valkey
    valkey.kill()
    await valkey.wait()
    await asyncio.to_thread(shutil.rmtree, valkey.data / "appendonlydir", ignore_errors=True)
    await sleep(where.seconds)
    await valkey.start()
    return True


async def flush_redis(where: Where) -> bool:
    """Let Redis forget everything."""
    redis = connect(where.stack.servers.redis_url)
    try:
        await redis.flushall()
    finally:
        await redis.aclose(close_connection_pool=True)
    return True


async def freeze_backends(where: Where) -> bool:
    """Stop some of the processes that serve Postgres' clients, with the locks that they hold."""
    serving = [one for one in _processes_of_postgres(where.stack) if _serves(one)]
    some = where.lot.sample(serving, where.lot.randint(1, len(serving))) if serving else []
    with _frozen(some):
        await sleep(where.seconds if some else 0)
    return bool(some)


async def crash_postgres(where: Where) -> bool:
    """End Postgres at once, without a checkpoint, and let it recover."""
    postgres = where.stack.servers.postgres
    postgres.kill(signal.SIGQUIT)
    await postgres.wait()
    await sleep(where.seconds)
    await postgres.start()
    return True


async def take_media_away(where: Where) -> bool:
    """Let nobody read or write media: a disk that is not mounted. There is a file in the folder's place."""
    media, aside = where.stack.media, where.stack.media.with_name("media-aside")
    if not media.is_dir():  # nothing has been stored yet
        return False
    media.rename(aside)
    media.touch()
    try:
        await sleep(where.seconds)
    finally:
        media.unlink()
        aside.rename(media)
    return True


def on_link(mode: Mode) -> Callable[[Where], Awaitable[bool]]:
    """Return the fault that puts a link into this mode."""

    async def do(where: Where) -> bool:
        link, after = where.stack.links[where.target], where.lot.randint(1, _MOST_BYTES)
        before = link.touched
        with link.switched(mode, seconds=where.seconds / 2, after_bytes=after):
            await sleep(where.seconds)
        return mode == "refuse" or link.touched > before  # who is refused is refused by the kernel, which tells nobody

    return do


async def cut(where: Where) -> bool:
    """Reset all connections of a link, once."""
    link = where.stack.links[where.target]
    link.cut()
    return link.connections > 0


async def forget(where: Where) -> bool:
    """Let the open connections of a link be dead for good, without a word: what is left of a machine without power."""
    link = where.stack.links[where.target]
    link.forget()
    return link.connections > 0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `on` is what it hits: the start of children's names, "redis", "postgres", …, or "link"."""

    name: str
    on: str
    do: Callable[[Where], Awaitable[bool]]

    def target(self, stack: Stack, lot: random.Random) -> str:
        """Return whom it hits. Each kind of link comes as often as any other, one in use first."""
        if self.on != "link":
            return lot.choice(stack.named(self.on) or [self.on])
        kinds = sorted({_NUMBER.sub("", name) for name in stack.links})
        kind = lot.choice(kinds)
        links = [name for name in stack.links if _NUMBER.sub("", name) == kind]
        return lot.choice([name for name in links if stack.links[name].connections] or links)


KINDS: tuple[Kind, ...] = (
    Kind("kill api", "api", kill),
    Kind("kill worker", "worker", kill),
    Kind("kill all apis", "apis", kill_all),
    Kind("kill all workers", "workers", kill_all),
    Kind("kill vendor", "vendor", kill),
    Kind("stop api", "api", stop),
    Kind("stop worker", "worker", stop),
    Kind("freeze api", "api", freeze),
    Kind("freeze worker beyond its lease", "worker", make_zombie),
    Kind("freeze vendor", "vendor", freeze),
    Kind("take media away", "media", take_media_away),
    Kind("freeze redis", "redis", freeze_redis),
    Kind("kill redis, memory gone", "redis", kill_redis),
    Kind("flush redis", "redis", flush_redis),
    Kind("freeze postgres' backends", "postgres", freeze_backends),
    Kind("crash postgres", "postgres", crash_postgres),
    Kind("link: cut", "link", cut),
    Kind("link: forget", "link", forget),
    *(Kind(f"link: {mode.replace('_', ' ')}", "link", on_link(mode)) for mode in MODES if mode != "pass"),
)


def _serves(process: psutil.Process) -> bool:
    with suppress(psutil.Error):  # it has ended meanwhile
        return "tallyframe tallyframe" in " ".join(process.cmdline())
    return False


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
