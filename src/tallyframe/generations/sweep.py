"""What got lost is rung again, and what is too old ends. Any number of sweepers may run at once."""

import sqlalchemy as sa

from tallyframe.db import Database
from tallyframe.generations import settle
from tallyframe.generations.submit import RUN_GENERATION
from tallyframe.generations.tables import IS_LIVE, generations
from tallyframe.outbox.put import missing, put

#: Generations that one sweep ends or rings at most; the next sweep goes on.
BATCH = 500

EXPIRED = "This did not finish in time. Your credits are back; you can order it again."


async def sweep(db: Database) -> tuple[int, int]:
    """Ring what nobody holds and nobody would ring; expire what is too old. Return how many (rung, expired)."""
    return await ring_lost(db), await expire_old(db)


async def ring_lost(db: Database) -> int:
    """Write an outbox row for each live generation without a valid lease that has none."""
    row = generations.c
    unheld = sa.or_(row.lease_until.is_(None), row.lease_until < sa.func.now())
    silent = sa.and_(IS_LIVE, unheld, missing(RUN_GENERATION, row.id))
    lost = sa.select(row.id, row.wake_at).where(silent).limit(BATCH).cte("lost")
    due = sa.func.coalesce(lost.c.wake_at, sa.func.now())
    return (await db.run(put(RUN_GENERATION, lost, due))).rowcount


async def expire_old(db: Database) -> int:
    """Settle each live generation past its maximum age as `expired`, with a refund."""
    row = generations.c
    query = sa.select(row.id).where(IS_LIVE, row.expires_at <= sa.func.now()).limit(BATCH)
    ids = (await db.run(query)).scalars().all()
    return sum([await settle.expire(db, generation_id, EXPIRED) for generation_id in ids])
