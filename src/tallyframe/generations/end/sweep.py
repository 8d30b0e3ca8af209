"""Write outbox rows that are missing, and end generations that are too old. Several sweepers may run at once."""

import random
from collections.abc import Awaitable
from datetime import datetime, timedelta
from time import monotonic

import sqlalchemy as sa
import structlog

from tallyframe import observe
from tallyframe.db import Database
from tallyframe.errors import Unavailable
from tallyframe.generations.claim import unheld
from tallyframe.generations.end import settle
from tallyframe.generations.tables import IS_LIVE, WITHDRAW, generation_steps, generations
from tallyframe.outbox.rows import complete_where, enqueue, not_queued
from tallyframe.outbox.tables import RUN_GENERATION, outbox

log = structlog.get_logger()

#: Generations that one sweep ends, or writes outbox rows for, at most; the next sweep goes on.
BATCH = 500

#: Seconds that a sweep spends on ending generations, at most.
EXPIRE_SECONDS = 30.0

#: Seconds after the end of a generation after which an order of its is no longer under way.
UNDER_WAY = 600.0

_step = generation_steps.c

#: A step whose order has no known end: once the generation has ended, the vendor must be asked to stop. A step in doubt
#: is one if it has a ticket. Literal, and not bound, for the partial indexes.
IS_OPEN = sa.or_(
    _step.state.in_([sa.literal_column("'intent'"), sa.literal_column("'ticket'")]),
    sa.and_(_step.state == sa.literal_column("'in_doubt'"), _step.ticket.is_not(None)),
)

EXPIRED = "This did not finish in time. Your credits are back; you can order it again."


async def sweep(db: Database) -> tuple[int, int]:
    """Do all parts of a sweep. Return how many outbox rows were written for lost generations, and how many expired.

    What gives credits back comes first. If one part fails, the others are done all the same.
    """
    expired = await tried(db, expire_old(db), "expire_old")
    rung = await tried(db, ring_lost(db), "ring_lost")
    await tried(db, withdraw_lost(db), "withdraw_lost")
    await tried(db, forget_ended(db), "forget_ended")
    return rung, expired


async def tried(db: Database, work: Awaitable[int], what: str) -> int:
    """Do it and return its number; 0 if it fails, which is logged, and reported if the database isn't just away.

    That the database is away is logged by its outage, once for all that fails by it.
    """
    try:
        return await work
    except Unavailable as error:
        if not db.outage.is_on:
            log.warning("sweep_interrupted", what=what, error=type(error).__name__)
        return 0
    except Exception as error:
        log.exception("sweep_failed", what=what)
        observe.report(error)
        return 0


async def forget_ended(db: Database) -> int:
    """Remove the outbox rows of generations that ended while such a row was being written."""
    ended = sa.exists().where(generations.c.id == outbox.c.ref, generations.c.finished_at.is_not(None))
    return (await db.run(complete_where(RUN_GENERATION, ended))).rowcount


async def ring_lost(db: Database) -> int:
    """Write an outbox row for each live generation without a valid lease that has none."""
    row = generations.c
    silent = sa.and_(IS_LIVE, unheld(), not_queued(RUN_GENERATION, row.id))
    lost = sa.select(row.id, row.wake_at).where(silent).limit(BATCH).cte("lost")
    due = sa.func.coalesce(lost.c.wake_at, sa.func.now())
    return (await db.run(enqueue(RUN_GENERATION, lost, due))).rowcount


async def expire_old(db: Database) -> int:
    """Settle each live generation past its maximum age as `expired`, with a refund. Raises Unavailable.

    Each by itself: if one can't be ended, the credits of the others must still come back. In any order, and for so long
    only: if some can't be ended because an account is locked, they must not use up the time of all others each time.
    """
    row = generations.c
    query = sa.select(row.id).where(IS_LIVE, row.expires_at <= sa.func.now()).order_by(row.expires_at).limit(BATCH)
    ids = list((await db.run(query)).scalars())
    random.shuffle(ids)
    ended, until = 0, monotonic() + EXPIRE_SECONDS
    while ids and monotonic() < until and not db.outage.takes_no_writes:
        generation_id = ids.pop()
        ended += await tried(db, settle.expire(db, generation_id, EXPIRED), f"expire {generation_id}")
    return ended


async def withdraw_lost(db: Database) -> int:
    """Write an outbox row for each ended generation with an open step that has none: a vendor may be at work on it.

    Tickets at once, also those of steps in doubt: they were committed while the generation was being settled. Intents
    only when their call must be over.
    """
    ended = sa.select(generations.c.id).join(generation_steps, _step.generation_id == generations.c.id).distinct()
    now = sa.or_(_step.ticket.is_not(None), is_over(generations.c.finished_at))
    lost = ended.where(IS_OPEN, ~IS_LIVE, not_queued(WITHDRAW, generations.c.id), now)
    return (await db.run(enqueue(WITHDRAW, lost.limit(BATCH).cte("lost")))).rowcount


def is_over(finished_at: "sa.ColumnElement[datetime]") -> "sa.ColumnElement[bool]":
    """Return the condition that no call can still be under way that was so at the end of the generation."""
    return finished_at < sa.func.now() - sa.literal(timedelta(seconds=UNDER_WAY), sa.Interval())
