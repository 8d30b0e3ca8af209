"""The worker of the usual way: arq, and a coroutine for each video that waits at its vendor.

python -m bench.peers.usual.videos
"""

import asyncio
import logging
import os
from typing import Any
from uuid import UUID

from arq.connections import RedisSettings
from arq.worker import Worker
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from bench.peers.usual.tables import Generation, now

POLL = 5.0  # seconds between two looks at a ticket
MOST = 10_000  # videos that wait at once
_AGE = 3600  # seconds


async def run_generation(ctx: dict[str, Any], generation_id: str) -> None:
    """Order the video, ask until it is there, and keep it."""
    sessions: async_sessionmaker[AsyncSession] = ctx["sessions"]
    async with sessions() as session:
        generation = await session.get_one(Generation, UUID(generation_id))
        generation.status, generation.ticket = "processing", f"ticket-{generation_id}"
        await session.commit()
    while not await is_ready(generation.ticket):  # noqa: ASYNC110  # as it is usually done
        await asyncio.sleep(POLL)
    async with sessions() as session:
        generation = await session.get_one(Generation, UUID(generation_id))
        generation.status, generation.finished_at = "succeeded", now()
        await session.commit()


async def is_ready(ticket: str) -> bool:  # noqa: ARG001  # a vendor would ask for it
    """Ask the vendor, who isn't ready while the benchmark runs."""
    await asyncio.sleep(0)
    return False


async def started(ctx: dict[str, Any]) -> None:
    """Open the database."""
    engine = create_async_engine(os.environ["USUAL_DATABASE_URL"], pool_size=10, max_overflow=10)
    ctx["sessions"] = async_sessionmaker(engine, expire_on_commit=False)


if __name__ == "__main__":
    logging.basicConfig(level="INFO")
    settings = RedisSettings.from_dsn(os.environ["USUAL_REDIS_URL"])
    functions: list[Any] = [run_generation]
    Worker(functions, redis_settings=settings, on_startup=started, max_jobs=MOST, job_timeout=_AGE).run()
