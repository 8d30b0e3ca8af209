"""③ Outbox rows → arq. Redis is only a doorbell: what it forgets is rung again, until somebody has taken the work up.

A row is marked as rung before it is rung, in its own statement, so nothing is locked while Redis is spoken to.
Ringing twice is harmless, because the worker must win the claim.
"""

import asyncio
from typing import Any
from uuid import UUID

import msgpack
import sqlalchemy as sa
import structlog
from arq.connections import ArqRedis
from redis.asyncio import BlockingConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import RedisError

from tallyframe.db import Database
from tallyframe.outbox.tables import outbox

log = structlog.get_logger()

#: The connection that rings. Nobody else needs to know that it is arq's.
JobQueue = ArqRedis

QUEUE = "tallyframe:queue"
#: What the client raises when Redis is away. uvloop says of a connection that has just been reset that it is closed.
REDIS_AWAY = (RedisError, OSError, RuntimeError)
#: Seconds that an accepted order may spend on ringing; with Redis frozen, the relay rings later.
RING_TIMEOUT = 0.3
#: Seconds until an unanswered ring is repeated; doubles with each, to at most RING_AGAIN_MAX.
RING_AGAIN = 5
RING_AGAIN_MAX = 60
#: Rows rung per round.
BATCH = 200


def connect(redis_url: str, *, max_connections: int = 20) -> ArqRedis:
    """Return arq's Redis client: msgpack and never pickle, a limit on every wait. Connects when it is first used."""
    pool = BlockingConnectionPool.from_url(
        redis_url,
        max_connections=max_connections,
        timeout=2,  # seconds to wait for a free connection
        socket_connect_timeout=2,
        socket_timeout=5,
        health_check_interval=30,
        retry=Retry(ExponentialBackoff(cap=1.0, base=0.1), 2),
    )
    return ArqRedis(
        pool_or_conn=pool,
        job_serializer=pack,
        job_deserializer=unpack,
        default_queue_name=QUEUE,
    )


def pack(job: dict[str, Any]) -> bytes:
    """Write a job's payload. arq also packs exceptions, though no result is kept: those become their text."""
    packed: bytes = msgpack.packb(job, default=repr)
    return packed


def unpack(data: bytes) -> dict[str, Any]:
    """Read a job's payload; raises ValueError on anything that isn't one."""
    job = msgpack.unpackb(data, strict_map_key=False)
    if not isinstance(job, dict):
        raise ValueError("a job is a map")  # noqa: TRY004  # what the serializer's caller expects of bad data
    return job


async def wake(redis: ArqRedis, kind: str, ref: UUID) -> bool:
    """Ring at once for a row that has just been committed; False when Redis is slow or away, and the relay will."""
    ringing = asyncio.create_task(_try_to_ring(redis, kind, ref))
    _ringing.add(ringing)
    ringing.add_done_callback(_ringing.discard)
    # Not `asyncio.timeout`: that would also wait for the client to clean up, which takes seconds on a frozen Redis.
    done, _ = await asyncio.wait({ringing}, timeout=RING_TIMEOUT)
    if not done:
        ringing.cancel()
        log.warning("ring_failed", kind=kind, ref=str(ref), error="TimeoutError")
    return bool(done) and ringing.result()


#: Rings that nobody waits for any more; kept here, because the event loop itself would forget them.
_ringing: set[asyncio.Task[bool]] = set()


async def _try_to_ring(redis: ArqRedis, kind: str, ref: UUID) -> bool:
    try:
        await redis.enqueue_job(kind, str(ref), _job_id=f"{kind}:{ref}:0")
    except REDIS_AWAY as error:
        log.warning("ring_failed", kind=kind, ref=str(ref), error=type(error).__name__)
        return False
    return True


async def relay(db: Database, redis: ArqRedis) -> int:
    """Ring for the rows that are due, oldest first; return how many. Raises RedisError or OSError."""
    rows = (await db.run(_mark_rung())).all()
    for row in rows:
        # A new id per ring: a worker that died between taking a job and claiming it blocks the old id for minutes.
        await redis.enqueue_job(row.kind, str(row.ref), _job_id=f"{row.kind}:{row.ref}:{row.serial}.{row.rings}")
    return len(rows)


def _mark_rung() -> sa.Executable:
    due = (
        sa.select(outbox.c.kind, outbox.c.ref)
        .where(outbox.c.due_at <= sa.func.now())
        .order_by(outbox.c.due_at)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
        .cte("due")
    )
    pause = sa.func.least(RING_AGAIN * sa.func.power(2, outbox.c.rings), RING_AGAIN_MAX)
    again = sa.func.now() + sa.func.make_interval(0, 0, 0, 0, 0, 0, pause, type_=sa.Interval())
    return (
        sa.update(outbox)
        .where(outbox.c.kind == due.c.kind, outbox.c.ref == due.c.ref)
        .values(due_at=again, rings=outbox.c.rings + 1)
        .returning(outbox.c.kind, outbox.c.ref, outbox.c.serial, outbox.c.rings)
    )


def worker_key(name: str) -> str:
    """Return the Redis key that says that the worker of this name lives."""
    return f"{QUEUE}:worker:{name}"


async def workers(redis: ArqRedis) -> list[str]:
    """Return the names of the workers that have shown a sign of life lately."""
    prefix = worker_key("")
    return [key.decode().removeprefix(prefix) async for key in redis.scan_iter(match=f"{prefix}*")]
