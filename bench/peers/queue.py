"""arq as it comes: how soon a job starts that was enqueued, and how fast jobs that do nothing are drained.

python -m bench.peers.queue JOBS_AT_ONCE POLL_DELAY
"""

import asyncio
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from arq import create_pool
from arq.connections import ArqRedis, RedisSettings
from arq.worker import Worker

from bench.notes import NOTES, note
from bench.site import Site
from bench.stack import Child

JOBS, POLL_DELAY = 10, 0.5  # arq's defaults

_REDIS = "BENCH_REDIS_URL"


async def tell(_: dict[str, Any], which: str) -> None:
    """Note that the job has started."""
    note("called", which)


async def hang(_: dict[str, Any], seconds: float) -> None:
    """Be under way."""
    await asyncio.sleep(seconds)


async def nothing(_: dict[str, Any], which: int) -> None:
    """Do nothing."""


@asynccontextmanager
async def working(
    site: Site, notes: str = "", jobs: int = JOBS, poll_delay: float = POLL_DELAY
) -> AsyncIterator[Child]:
    """Run a worker for the block."""
    argv = [sys.executable, "-m", "bench.peers.queue", str(jobs), str(poll_delay)]
    environment = {_REDIS: site.redis_url, NOTES: notes}
    async with site.stack.telling(argv, environment, "Starting worker") as child:
        yield child


@asynccontextmanager
async def queue(site: Site) -> AsyncIterator[ArqRedis]:
    """Connect for the block, to enqueue jobs."""
    pool = await create_pool(RedisSettings.from_dsn(site.redis_url))
    try:
        yield pool
    finally:
        await pool.aclose()


if __name__ == "__main__":
    logging.basicConfig(level="WARNING", format="%(message)s")
    logging.getLogger("arq.worker").setLevel("INFO")  # arq's own level
    settings = RedisSettings.from_dsn(os.environ[_REDIS])
    functions: list[Any] = [tell, hang, nothing]
    at_once, poll_delay = int(sys.argv[1]), float(sys.argv[2])
    Worker(functions, redis_settings=settings, max_jobs=at_once, poll_delay=poll_delay).run()
