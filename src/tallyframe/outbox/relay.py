"""③ Outbox rows → Redis: one wake-up for all generations that are due, and an arq job for each other row.

Redis only says that there is work. What it forgets is enqueued again until a worker has taken the work up. Enqueuing
twice is harmless, because a worker must win the claim. A row is marked in a statement of its own before its job is
enqueued, so nothing is locked during a call to Redis.
"""

import asyncio
from collections.abc import Collection, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import msgpack
import sqlalchemy as sa
from arq.connections import ArqRedis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.connection import AbstractConnection
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError, ResponseError

from tallyframe.db import Database
from tallyframe.outbox.spoiled import count_due, drop_key, is_spoiled
from tallyframe.outbox.tables import HAS_OWN_JOB, SHARES_WAKE_UP, outbox
from tallyframe.servers.outage import Outage
from tallyframe.servers.redis_url import redis_address
from tallyframe.servers.words import redis_words

QUEUE = "tallyframe:queue"
#: A queue of their own for withdrawals: a vendor that hangs must not fill the queue of the others.
WITHDRAWALS = "tallyframe:withdrawals"
#: There is work for whoever has a free slot. One key for all generations, so wake-ups can't pile up.
WAKE_UP = "tallyframe:wake"
#: Milliseconds until a wake-up expires that no worker had a free slot for. A worker with a free slot looks anyway.
WAKE_UP_EXPIRES = 5000
#: Seconds that an accepted order may spend on the wake-up. With Redis frozen, workers look by themselves.
WAKE_TIMEOUT = 0.3
#: Seconds between two wake-ups of one process.
WAKE_EVERY = 0.005
#: What the client raises when Redis is away. uvloop says of a connection that has just been reset that it is closed.
REDIS_AWAY = (RedisError, OSError, RuntimeError)
#: Seconds until a row that is still there is enqueued again; doubles each time, to at most AGAIN_AFTER_MOST.
AGAIN_AFTER = 5
AGAIN_AFTER_MOST = 60
_DOUBLINGS = 10  # more than it takes to get there; a row that can't be worked off for a day would else overflow
#: Seconds for which a connection is unused until it is asked whether it is alive.
HEALTH_CHECK_EVERY = 30
#: Jobs that the relay keeps in one queue at most; in both, these are less than 100. The others wait in Postgres. No try
#: is counted for a row that isn't in a queue.
QUEUE_LIMIT = 45
#: How long a job stays in Redis that nobody takes. By then it has been enqueued again many times.
JOB_EXPIRES = timedelta(days=1)
#: No job was enqueued after this time, in milliseconds since 1970: it is the year 2248.
_LATEST = 2**43


class JobQueue(ArqRedis):
    """The connection to Redis, which `outage` hears of. Nobody else needs to know that it is arq's."""

    outage: Outage
    address: str
    next_wake: "asyncio.Task[bool] | None" = None
    last_wake = 0.0  # seconds of the loop's clock

    async def execute_command(self, *arguments: Any, **options: Any) -> Any:  # noqa: ANN401  # as redis-py calls it
        """Ask Redis, and note whether it answers. A key of another type is removed first. Raises REDIS_AWAY."""
        try:
            try:
                answer = await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]  # redis-py
            except ResponseError as error:
                if not is_spoiled(error):
                    raise
                command, key, *_ = arguments
                await drop_key(self, key, unless="zset" if command.startswith("Z") else "string")
                answer = await super().execute_command(*arguments, **options)  # type: ignore[no-untyped-call]
        except REDIS_AWAY as error:
            if not is_spoiled(error):
                self.outage.note(redis_words(error, self.address))
            raise
        if self.outage.is_on:
            self.outage.over()
        return answer


async def _begin(connection: AbstractConnection) -> None:
    """Log in, and do nothing before it. redis-py would ask a new connection whether it is alive.

    A Redis that wants a login first refuses that question, whereupon redis-py opens the connection again, inside of
    itself, and again.
    """
    connection.next_health_check = asyncio.get_running_loop().time() + HEALTH_CHECK_EVERY
    await connection.on_connect()


def connect(redis_url: str, *, max_connections: int = 20, outage: Outage | None = None) -> JobQueue:
    """Return arq's Redis client: msgpack and never pickle, a limit on every wait. Connects when it is first used."""
    pool = BlockingConnectionPool.from_url(
        redis_url,
        max_connections=max_connections,
        timeout=2,  # seconds to wait for a free connection
        socket_connect_timeout=2,
        socket_timeout=5,
        health_check_interval=HEALTH_CHECK_EVERY,
        redis_connect_func=_begin,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.1), 2),
    )
    queue = JobQueue(
        pool_or_conn=pool,
        job_serializer=pack,
        job_deserializer=unpack,
        default_queue_name=QUEUE,
    )
    queue.outage, queue.address = outage or Outage("redis"), redis_address(redis_url)
    return queue


def pack(job: dict[str, Any]) -> bytes:
    """Write a job's payload. arq also packs exceptions, though no result is kept: those become their text."""
    packed: bytes = msgpack.packb(job, default=repr)
    return packed


def unpack(data: bytes) -> dict[str, Any]:
    """Read a job's payload: function, arguments, try and time (milliseconds). Raises ValueError if it isn't one.

    arq relies on the types: with others, its worker would end.
    """
    job = msgpack.unpackb(data, strict_map_key=False)
    match job:
        case {"f": str(), "a": list(), "k": dict(), "t": int() | None, "et": int(at)} if 0 <= at < _LATEST:
            return dict(job)
    raise ValueError("not a job")


async def wake(redis: JobQueue) -> bool:
    """Wake a worker for a generation that has just been committed. False: Redis is slow or away, and workers look.

    Orders that come within WAKE_EVERY share one wake-up: it says that there is work, and not which.
    """
    if redis.next_wake is None:
        redis.next_wake = asyncio.create_task(_wake_in_turn(redis))
    return await asyncio.shield(redis.next_wake)


async def _wake_in_turn(redis: JobQueue) -> bool:
    now = asyncio.get_running_loop().time
    await asyncio.sleep(redis.last_wake + WAKE_EVERY - now())
    redis.next_wake, redis.last_wake = None, now()  # who comes from now on needs another one
    waking = asyncio.create_task(_tried_to_wake(redis))
    _waking.add(waking)
    waking.add_done_callback(_waking.discard)
    # Not `asyncio.timeout`: that would also wait for the client to clean up, which takes seconds on a frozen Redis.
    done, _ = await asyncio.wait({waking}, timeout=WAKE_TIMEOUT)
    if not done:
        waking.cancel()
        redis.outage.note(redis_words(TimeoutError(), redis.address))
    return bool(done) and waking.result()


#: Wake-ups that have been started and may have been given up; the event loop alone would not keep the tasks alive.
_waking: set[asyncio.Task[bool]] = set()


async def _tried_to_wake(redis: JobQueue) -> bool:
    try:
        await put_wake_up(redis)
    except REDIS_AWAY:  # the queue has said so, once for all orders
        return False
    return True


async def put_wake_up(redis: JobQueue) -> None:
    """Say that there is work for whoever has a free slot. Raises REDIS_AWAY."""
    await redis.set(WAKE_UP, b"", px=WAKE_UP_EXPIRES)


async def take_wake_up(redis: JobQueue) -> bool:
    """Take the wake-up, if there is one, so that nobody else does. Raises REDIS_AWAY."""
    return await redis.getdel(WAKE_UP) is not None


async def relay(db: Database, redis: JobQueue, queues: Mapping[str, Collection[str]]) -> int:
    """Wake a worker if any generation is due, and enqueue the due rows of each queue's kinds; return how many.

    Each queue by itself: what Redis refuses for one delays no other. Raises Unavailable or REDIS_AWAY.
    """
    if (await db.run(_GENERATION_IS_DUE)).scalar_one():
        await put_wake_up(redis)
    count, refused = 0, None
    for queue, kinds in queues.items():
        try:
            count += await fill(db, redis, queue, kinds)
        except ResponseError as error:
            refused = error
    if refused:
        raise refused
    return count


async def fill(db: Database, redis: JobQueue, queue: str, kinds: Collection[str]) -> int:
    """Enqueue due rows of these kinds while the queue has room; return how many. Raises Unavailable or REDIS_AWAY."""
    room = QUEUE_LIMIT - await count_due(redis, queue)
    rows = (await db.run(_mark_enqueued(kinds, room))).all() if room > 0 else []
    for row in rows:
        # A new id each time: a worker that died between taking a job and claiming it blocks the old id for minutes.
        job_id = f"{row.kind}:{row.ref}:{row.serial}.{row.rings}"
        # Its place in the queue is its number, and not a time: a worker whose clock is behind must see it, too.
        place = datetime.fromtimestamp(row.serial / 1000, UTC)
        await redis.enqueue_job(
            row.kind, str(row.ref), _job_id=job_id, _queue_name=queue, _defer_until=place, _expires=JOB_EXPIRES
        )
    return len(rows)


_GENERATION_IS_DUE = sa.select(sa.exists().where(SHARES_WAKE_UP, outbox.c.due_at <= sa.func.now()))


def _mark_enqueued(kinds: Collection[str], most: int) -> sa.Executable:
    due = (
        sa.select(outbox.c.kind, outbox.c.ref)
        .where(HAS_OWN_JOB, outbox.c.kind.in_(kinds), outbox.c.due_at <= sa.func.now())
        .order_by(outbox.c.due_at)
        .limit(most)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    doubled = sa.func.power(2, sa.func.least(outbox.c.rings, _DOUBLINGS))
    pause = sa.func.least(AGAIN_AFTER * doubled, AGAIN_AFTER_MOST)
    again = sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, pause, type_=sa.Interval())
    return (
        sa.update(outbox)
        .where(outbox.c.kind == due.c.kind, outbox.c.ref == due.c.ref)
        .values(due_at=again, rings=outbox.c.rings + 1)
        .returning(outbox.c.kind, outbox.c.ref, outbox.c.serial, outbox.c.rings)
    )
