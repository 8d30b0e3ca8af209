"""What may not grow: memory and descriptors of the processes, Redis keys, rows, connections, files."""

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from time import monotonic

import asyncpg
import psutil
from redis.asyncio import Redis

from chaos.gathering import NOT_LATER, UNFINISHED
from chaos.soak.rig import Rig

_LOOK = 0.5  # seconds between two looks at a process
_SETTLES = 5.0  # seconds without a key less, after which we take it that those that are left stay
_LONGEST = 600.0  # seconds
_POLL = 0.5
#: Rows that only what is under way needs, by what they are.
_PASSING = {
    "outbox": f"SELECT count(*) FROM outbox WHERE {NOT_LATER}",  # noqa: S608  # of our own parts
    "open steps": """
        SELECT count(*) FROM generation_steps JOIN generations ON generations.id = generation_id
        WHERE ended_at IS NULL AND status <> 'canceled'""",
    "uploads": "SELECT count(*) FROM assets WHERE generation_id IS NULL AND project_id IS NULL",
    "silent workers": "SELECT count(*) FROM workers WHERE seen_at < now() - interval '5 minutes'",
}
#: Files that belong to something: assets, and results of steps whose generation was canceled while they were stored.
_KNOWN = """
    SELECT count(*) FROM (
        SELECT storage, key FROM assets WHERE deleted_at IS NULL
        UNION SELECT result->>'storage', result->>'key' FROM generation_steps WHERE result ? 'key') AS files"""


@dataclass(frozen=True, slots=True)
class Lap:
    """What was there when a lap's generations had all ended, and the most of `memory` and `descriptors` in it.

    Both are per process, the memory in bytes.
    """

    generations: int
    seconds: float
    memory: dict[str, int]
    descriptors: dict[str, int]
    redis_keys: int
    connections: int
    files: int
    known: int  # files that a row names
    passing: dict[str, int]


@dataclass
class Watch:
    """Looks at processes while a lap runs."""

    rig: Rig
    memory: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    descriptors: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    async def look(self) -> None:
        """Note the most that each process has had. Until canceled."""
        while True:
            for name, child in self.rig.children.items():
                self._note(name, child.pid)
            await asyncio.sleep(_LOOK)

    def _note(self, name: str, pid: int | None) -> None:
        if pid is None:
            return
        try:
            process = psutil.Process(pid)
            memory, descriptors = process.memory_info().rss, process.num_fds()
        except psutil.Error:  # it has ended meanwhile
            return
        self.memory[name] = max(self.memory[name], memory)
        self.descriptors[name] = max(self.descriptors[name], descriptors)

    async def end_lap(self, generations: int, began: float) -> Lap:
        """Wait until all has ended; return what is left, and begin anew. Raises RuntimeError after ten minutes."""
        connection = await asyncpg.connect(self.rig.servers.database_url)
        try:
            await _until_all_has_ended(connection)
            seconds = monotonic() - began
            keys = await self._settled_keys()
            found = Lap(
                generations,
                seconds,
                self.memory,
                self.descriptors,
                keys,
                await connection.fetchval(
                    "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
                ),
                sum(1 for path in self.rig.media.rglob("*") if path.is_file()),
                await connection.fetchval(_KNOWN),
                {name: await connection.fetchval(query) for name, query in _PASSING.items()},
            )
        finally:
            await connection.close()
        self.memory, self.descriptors = defaultdict(int), defaultdict(int)
        return found

    async def _settled_keys(self) -> int:
        """Return how many keys Redis has once their number no longer falls."""
        async with Redis.from_url(self.rig.servers.redis_url) as redis:
            fewest, fell = int(await redis.dbsize()), monotonic()
            while monotonic() < fell + _SETTLES:
                await asyncio.sleep(_POLL)
                if (now := int(await redis.dbsize())) < fewest:
                    fewest, fell = now, monotonic()
            return fewest


async def _until_all_has_ended(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Raises RuntimeError if something is unfinished after ten minutes."""
    until = monotonic() + _LONGEST
    while left := await connection.fetchval(UNFINISHED):
        if monotonic() > until:
            raise RuntimeError(f"{left} generations or calls of the outbox are unfinished after {_LONGEST:.0f} s")
        await asyncio.sleep(_POLL)
