"""The kinds of fault: what each does to the stack, whom it hits, and how it ends.

Every function commits its fault, waits while it lasts, undoes it, and returns whether it had an effect: cutting a link
without connections has none. Killed processes are started again by `chaos/children.py`; servers are started again here.
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
_BEYOND_LEASE = (1.0, 3.0)  # seconds that a zombie sleeps longer than its lease lasts
_NUMBER = re.compile(r"-\d+")


@dataclass(frozen=True, slots=True)
class Where:
    """Where a fault happens: at whom, for how many seconds, and a generator for the details."""

    stack: Stack
    target: str
    seconds: float
    lot: random.Random


async def kill(where: Where) -> bool:
    """End a process at once, as the kernel does when memory is short."""
    return where.stack.children[where.target].signal(signal.SIGKILL)


async def kill_all(where: Where) -> bool:
    """End all processes of a kind at once: all workers or all APIs."""
    names = where.stack.named(where.target.removesuffix("s"))
    hit = [where.stack.children[name].signal(signal.SIGKILL) for name in names]
    return any(hit)


async def stop(where: Where) -> bool:
    """Ask a process to end, as a deploy does."""
    return where.stack.children[where.target].signal(signal.SIGTERM)


async def freeze(where: Where) -> bool:
    """Stop a process and let it go on after a while: a pause of its machine."""
    child = where.stack.children[where.target]
    froze = child.signal(signal.SIGSTOP)
    try:
        await sleep(where.seconds if froze else 0)
    finally:
        child.signal(signal.SIGCONT)
    return froze


async def make_zombie(where: Where) -> bool:
    """Freeze a worker until its leases have run out."""
    beyond = where.stack.plan.lease + where.lot.uniform(*_BEYOND_LEASE)
    return await freeze(Where(where.stack, where.target, beyond, where.lot))


async def freeze_redis(where: Where) -> bool:
    """Freeze Redis: connections stay open, and nobody answers."""
    with _frozen([psutil.Process(where.stack.servers.valkey.pid)]):
        await sleep(where.seconds)
    return True


async def kill_redis(where: Where) -> bool:
    """End Redis at once, remove its data, and start it again."""
    valkey = where.stack.servers.valkey
    valkey.kill()
    await valkey.wait()
    await asyncio.to_thread(shutil.rmtree, valkey.data / "appendonlydir", ignore_errors=True)
    await sleep(where.seconds)
    await valkey.start()
    return True


async def flush_redis(where: Where) -> bool:
    """Delete all keys of Redis."""
    redis = connect(where.stack.servers.redis_url)
    try:
        await redis.flushall()
    finally:
        await redis.aclose(close_connection_pool=True)
    return True


async def freeze_backends(where: Where) -> bool:
    """Freeze some of the processes that serve Postgres' clients; they keep the locks that they hold."""
    serving = []
    for process in psutil.Process(where.stack.servers.postgres.pid).children(recursive=True):
        with suppress(psutil.Error):  # it has ended meanwhile
            if "tallyframe tallyframe" in " ".join(process.cmdline()):  # its user and its database
                serving.append(process)
    some = where.lot.sample(serving, where.lot.randint(1, len(serving))) if serving else []
    with _frozen(some):
        await sleep(where.seconds if some else 0)
    return bool(some)


async def crash_postgres(where: Where) -> bool:
    """End Postgres at once, without a checkpoint, and start it again: it recovers from its log."""
    postgres = where.stack.servers.postgres
    postgres.kill(signal.SIGQUIT)
    await postgres.wait()
    await sleep(where.seconds)
    await postgres.start()
    return True


async def take_media_away(where: Where) -> bool:
    """Put a file in the place of the folder of media, so that nobody can read or write: a disk that isn't mounted."""
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
        return mode == "refuse" or link.touched > before  # the kernel refuses connections, so we can't count them

    return do


async def cut(where: Where) -> bool:
    """Reset all connections of a link, once."""
    link = where.stack.links[where.target]
    link.cut()
    return link.connections > 0


async def forget(where: Where) -> bool:
    """Let the open connections of a link be dead for good, and tell neither end: a machine that has lost power."""
    link = where.stack.links[where.target]
    link.forget()
    return link.connections > 0


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of fault. `on` is what it hits: how children's names start, or "redis", "postgres", "media" or "link"."""

    name: str
    on: str
    do: Callable[[Where], Awaitable[bool]]

    def target(self, stack: Stack, lot: random.Random) -> str:
        """Return whom it hits. All kinds of link come equally often; of one kind, those with connections come first."""
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


@contextmanager
def _frozen(processes: list[psutil.Process]) -> Iterator[None]:
    """Freeze the processes for the block, except those that have ended meanwhile."""
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
