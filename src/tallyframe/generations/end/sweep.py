"""Write outbox rows that are missing, and end generations that are too old. Several sweepers may run at once."""

import random
from collections.abc import Awaitable
from datetime import UTC, datetime, timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog

from tallyframe import observe
from tallyframe.db import Database
from tallyframe.errors import Unavailable
from tallyframe.generations.claim import unheld
from tallyframe.generations.end import settle
from tallyframe.generations.end.walk import BATCH, Walk
from tallyframe.generations.tables import (
    IS_PENDING,
    IS_PROCESSING,
    WITHDRAW,
    generation_steps,
    generations,
)
from tallyframe.outbox.rows import complete_where, enqueue, not_queued
from tallyframe.outbox.tables import RUN_GENERATION, SHARES_WAKE_UP, outbox

log = structlog.get_logger()

#: Seconds that a sweep spends on ending generations, at most.
EXPIRE_SECONDS = 30.0

#: Seconds after the end of a generation after which an order of its is no longer under way.
UNDER_WAY = 600.0

_step = generation_steps.c

#: A step whose order has no known end: once the generation has ended, the vendor must be asked to stop. A step in doubt
#: is one if it has a ticket. Literal, and not bound, for the partial indexes.
IS_UNDER_WAY = _step.state.in_([sa.literal_column("'intent'"), sa.literal_column("'ticket'")])
HAS_DOUBTED_TICKET = sa.and_(_step.state == sa.literal_column("'in_doubt'"), _step.ticket.is_not(None))
IS_OPEN = sa.or_(IS_UNDER_WAY, HAS_DOUBTED_TICKET)

EXPIRED = "This did not finish in time. Your credits are back; you can order it again."


class Sweeper:
    """Sweeps again and again. Each round costs about the same, however much there is: what it has not come to is next.

    What gives credits back comes first. If one part fails, the others are done all the same.
    """

    def __init__(self, db: Database) -> None:
        self._db = db
        self._tried: set[UUID] = set()  # to be ended, without success
        row, nobody, long_ago = generations.c, UUID(int=0), datetime.fromtimestamp(0, UTC)
        self._pending = Walk({row.turn: -1, row.id: nobody}, IS_PENDING, further=[row.wake_at])
        self._processing = Walk(
            {row.expires_at: long_ago, row.id: nobody}, IS_PROCESSING, unheld(), further=[row.wake_at]
        )
        self._queued = Walk({outbox.c.due_at: long_ago, outbox.c.ref: nobody}, SHARES_WAKE_UP)
        key = {_step.generation_id: nobody, _step.name: "", _step.attempt: 0}
        self._open = [Walk(key, condition, further=[_step.ticket]) for condition in (IS_UNDER_WAY, HAS_DOUBTED_TICKET)]

    async def sweep(self) -> tuple[int, int]:
        """Do all parts. Return how many outbox rows were written for lost generations, and how many expired."""
        db = self._db
        expired = await tried(db, self.expire_old(), "expire_old")
        rung = sum([await tried(db, self.ring_lost(walk), "ring_lost") for walk in (self._pending, self._processing)])
        for walk in self._open:
            await tried(db, self.withdraw_lost(walk), "withdraw_lost")
        await tried(db, self.forget_ended(), "forget_ended")
        return rung, expired

    async def expire_old(self) -> int:
        """Settle generations past their maximum age as `expired`, with a refund; return how many. Raises Unavailable.

        Each by itself, in any order, and for so long only: if some can't be ended because an account is locked, the
        credits of the others must still come back. So those come first that have not been tried.
        """
        row, tried_before = generations.c, sa.literal(list(self._tried), sa.ARRAY(sa.Uuid()))
        ids = list[UUID]()
        for state in (IS_PENDING, IS_PROCESSING):  # each has an index of its own
            old = sa.select(row.id).where(state, row.expires_at <= sa.func.now(), row.id != sa.all_(tried_before))
            ids += (await self._db.run(old.order_by(row.expires_at).limit(BATCH))).scalars()
        if len(ids) < BATCH:
            self._tried.clear()
        random.shuffle(ids)
        ended, until = 0, monotonic() + EXPIRE_SECONDS
        while ids and monotonic() < until and not self._db.outage.takes_no_writes:
            generation_id = ids.pop()
            if await tried(self._db, settle.expire(self._db, generation_id, EXPIRED), f"expire {generation_id}"):
                ended += 1
            else:
                self._tried.add(generation_id)
        return ended

    async def ring_lost(self, walk: Walk) -> int:
        """Write an outbox row for each live generation that has none, and that no worker holds."""

        def lost(looked: sa.CTE) -> "sa.Select[Any]":
            id_ = looked.c.key_1.label("id")
            return sa.select(id_, looked.c.wake_at).where(not_queued(RUN_GENERATION, looked.c.key_1))

        def ring(lost: sa.CTE) -> sa.Insert:
            return enqueue(RUN_GENERATION, lost, sa.func.coalesce(lost.c.wake_at, sa.func.now()))

        return await walk.round(self._db, lost, ring)

    async def withdraw_lost(self, walk: Walk) -> int:
        """Write an outbox row for each ended generation with an open step that has none: a vendor may be at work on it.

        Tickets at once, also those of steps in doubt: they were committed while the generation was being settled.
        Intents only when their call must be over.
        """

        def lost(looked: sa.CTE) -> "sa.Select[Any]":
            id_, finished_at = looked.c.key_0, _finished_at(looked.c.key_0)
            now = sa.case((looked.c.ticket.is_not(None), finished_at.is_not(None)), else_=is_over(finished_at))
            # In one order, so that two sweepers wait for each other's rows, and not in a deadlock.
            return sa.select(id_.label("id")).distinct().where(now, not_queued(WITHDRAW, id_)).order_by(id_)

        return await walk.round(self._db, lost, lambda each: enqueue(WITHDRAW, each))

    async def forget_ended(self) -> int:
        """Remove the outbox rows of generations that ended while such a row was being written."""

        def ended(looked: sa.CTE) -> "sa.Select[Any]":
            return sa.select(looked.c.key_1.label("id")).where(_finished_at(looked.c.key_1).is_not(None))

        def forget(ended: sa.CTE) -> sa.Delete:
            ids = sa.func.array(sa.select(ended.c.id).scalar_subquery(), type_=sa.ARRAY(sa.Uuid()))
            return complete_where(RUN_GENERATION, outbox.c.ref == sa.any_(ids))

        return await self._queued.round(self._db, ended, forget)


def _finished_at(generation_id: "sa.ColumnElement[UUID]") -> "sa.ScalarSelect[datetime]":
    """Return the subquery for the end of the generation of an outer query's row: looked up for each, never joined."""
    end = sa.select(generations.c.finished_at).where(generations.c.id == generation_id)
    return end.correlate_except(generations).scalar_subquery()


async def sweep(db: Database) -> tuple[int, int]:
    """Do the first round of a sweeper, which is all of it if there is little to be looked at."""
    return await Sweeper(db).sweep()


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


def is_over(finished_at: "sa.ColumnElement[datetime]") -> "sa.ColumnElement[bool]":
    """Return the condition that no call can still be under way that was so at the end of the generation."""
    return finished_at < sa.func.now() - sa.literal(timedelta(seconds=UNDER_WAY), sa.Interval())
