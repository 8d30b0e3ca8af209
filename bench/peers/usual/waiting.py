"""How much memory the worker of the usual way takes with many waiting videos."""

import asyncio
import sys
from collections.abc import Sequence
from functools import partial

from sqlalchemy import insert
from sqlalchemy.ext.asyncio import create_async_engine

from bench.cast import Person
from bench.peers.queue import queue
from bench.peers.usual import driver_url, environment, make_tables
from bench.peers.usual.tables import Generation, Project
from bench.site import Site
from bench.until import until
from tallyframe.ids import new_id

_AT_ONCE = 100  # jobs that are enqueued side by side


async def memory(site: Site, people: Sequence[Person], count: int) -> float:
    """Return the memory of the usual worker with so many waiting videos, in MB."""
    await make_tables(site, people)
    owner = [people[number % len(people)].user_id for number in range(count)]
    projects = [
        {"id": new_id(), "user_id": user, "kind": "video", "prompt": "x", "status": "pending"} for user in owner
    ]
    paid = {"operation": "video", "input": {"prompt": "a cup"}, "credits": 10, "status": "pending"}
    generations = [{"id": new_id(), "project_id": each["id"], "user_id": each["user_id"], **paid} for each in projects]
    ids = [each["id"] for each in generations]
    if count:
        engine = create_async_engine(driver_url(site))
        async with engine.begin() as connection:
            await connection.execute(insert(Project), projects)
            await connection.execute(insert(Generation), generations)
        await engine.dispose()
    await site.empty_redis()
    argv = [sys.executable, "-m", "bench.peers.usual.videos"]
    async with queue(site) as jobs:
        for begin in range(0, count, _AT_ONCE):
            some = ids[begin : begin + _AT_ONCE]
            await asyncio.gather(*(jobs.enqueue_job("run_generation", str(each)) for each in some))
    async with (
        site.stack.telling(argv, environment(site), "Starting worker") as worker,
        site.owner() as connection,
    ):
        waiting = "SELECT count(*) = $2 FROM usual.generations WHERE status = 'processing' AND id = ANY($1)"
        await until(partial(connection.fetchval, waiting, ids, count), within=120)
        await asyncio.sleep(1)
        return worker.rss
