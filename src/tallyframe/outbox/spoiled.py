"""Takes out of Redis what no version of ours can have put there, so that it doesn't stop what else is to be done.

Nothing is lost by it: all that Redis holds of ours is enqueued again from Postgres. The names of keys are arq's.
"""

import re
from time import time

import structlog
from redis.asyncio import Redis
from redis.exceptions import ResponseError, WatchError

log = structlog.get_logger()

#: arq's list of jobs that are to be ended. We never fill it, but arq takes each job that it finishes out of it.
ABORTED = "arq:abort"
#: Milliseconds for which a job's mark that it runs is good at most: twice what arq gives it (outbox/jobs.py).
RUNS_AT_MOST = 1_300_000
#: Entries of a queue that are looked at in one round.
LOOKED_AT = 1000
#: What Redis says of a key of another type, and of a counter of tries that is none. All else is Redis's own matter.
_SPOILED = re.compile(r"WRONGTYPE|not an integer|would overflow")


def is_spoiled(error: BaseException) -> bool:
    """Tell whether Redis works, and it is what lies in it that a command couldn't be done with."""
    return isinstance(error, ResponseError) and bool(_SPOILED.search(str(error)))


async def drop_key(redis: "Redis", key: str, *, unless: str) -> None:
    """Remove a key, unless it is of that type by now, or somebody else is at it. Raises RedisError or OSError."""
    async with redis.pipeline(transaction=True) as pipe:
        await pipe.watch(key)
        if await pipe.type(key) in {unless.encode(), b"none"}:
            return
        pipe.multi()  # type: ignore[no-untyped-call]  # redis-py
        pipe.delete(key)
        try:
            await pipe.execute()
        except WatchError:
            return
    log.warning("job_dropped", key=key, error="WrongType")


async def drop_entry(redis: "Redis", queue: str, entry: bytes) -> None:
    """Remove an entry of a queue, with all that arq keeps of it. Raises RedisError or OSError."""
    async with redis.pipeline(transaction=True) as pipe:
        pipe.zrem(queue, entry)
        pipe.delete(*(prefix + entry for prefix in (b"arq:job:", b"arq:retry:", _RUNS)))
        await pipe.execute()


_RUNS = b"arq:in-progress:"


async def count_due(redis: "Redis", queue: str) -> int:
    """Return how many entries of a queue are due, LOOKED_AT at most, without those that arq would pass over for ever.

    Those are removed: arq takes a score of 0 for none, and what is marked as running it leaves alone until that mark
    expires. Raises RedisError or OSError.
    """
    if without_score := int(await redis.zremrangebyscore(queue, "-inf", 0)):
        log.warning("job_dropped", key=queue, count=without_score, error="NoScore")
    entries = await redis.zrangebyscore(queue, "-inf", time() * 1000, start=0, num=LOOKED_AT)
    if not entries:
        return 0
    async with redis.pipeline(transaction=False) as pipe:
        for entry in entries:
            pipe.pttl(_RUNS + entry)  # -1: it never expires; -2: there is none
        marks = await pipe.execute()
    stuck = [entry for entry, left in zip(entries, marks, strict=True) if left == -1 or left > RUNS_AT_MOST]
    for entry in stuck:
        await drop_entry(redis, queue, entry)
    if stuck:
        log.warning("job_dropped", key=queue, count=len(stuck), error="RunsForEver")
    return len(entries) - len(stuck)
