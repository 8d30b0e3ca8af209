"""What waits and who works, now, for operators."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.generations.states import Status
from tallyframe.generations.tables import IS_LIVE, generations
from tallyframe.outbox.tables import HAS_OWN_JOB, outbox
from tallyframe.workers.heartbeat import is_present
from tallyframe.workers.tables import workers

#: Seconds for which an outbox row that is due may lie there: workers enqueue such rows twice a second.
OVERDUE = 5.0


@dataclass(frozen=True, slots=True)
class Queue:
    """What has not ended. `outbox_overdue`: rows of other kinds than generations that are due and not enqueued."""

    pending: int = 0
    due: int = 0  # of the pending: may be taken up now
    waiting: int = 0  # of the pending: not before a time that is still to come
    processing: int = 0
    oldest_pending_seconds: float | None = None
    outbox_overdue: int = 0


@dataclass(frozen=True, slots=True)
class Worker:
    """A worker that is alive. Of its `slots`, `busy` run a generation."""

    name: str
    slots: int
    busy: int
    started_at: datetime
    seen_at: datetime


@dataclass(frozen=True, slots=True)
class Fleet:
    """The workers that are alive."""

    each: Sequence[Worker] = ()

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.each)

    @property
    def slots(self) -> int:
        """Of all workers."""
        return sum(worker.slots for worker in self.each)

    @property
    def busy(self) -> int:
        """Of all workers."""
        return sum(worker.busy for worker in self.each)

    @property
    def use(self) -> float | None:
        """Busy ÷ slots, 0 to 1; None without workers."""
        return self.busy / self.slots if self.slots else None


async def queue(reader: Reader) -> Queue:
    """Count what has not ended."""
    row, count, now = generations.c, sa.func.count(), sa.func.now()
    pending = row.status == Status.PENDING
    later = sa.and_(pending, row.wake_at > now)
    query = sa.select(
        count.filter(pending),
        count.filter(pending) - count.filter(later),
        count.filter(later),
        count.filter(row.status == Status.PROCESSING),
        sa.func.date_part("epoch", now - sa.func.min(row.created_at).filter(pending)),
    ).where(IS_LIVE)
    grace = sa.literal(timedelta(seconds=OVERDUE), sa.Interval())
    overdue = sa.select(sa.func.count()).select_from(outbox).where(HAS_OWN_JOB, outbox.c.due_at < now - grace)
    counted = (await reader.execute(query.add_columns(overdue.scalar_subquery()))).one()
    return Queue(*counted)


async def fleet(reader: Reader) -> Fleet:
    """Return the workers that are alive, by name. Slots with a valid lease are busy: waiting takes none."""
    row = generations.c
    leased = sa.select(row.worker, sa.func.count().label("busy")).where(IS_LIVE, row.lease_until > sa.func.now())
    held = leased.group_by(row.worker).subquery("held")
    shown = [workers.c.name, workers.c.slots, sa.func.coalesce(held.c.busy, 0), workers.c.started_at, workers.c.seen_at]
    query = sa.select(*shown).select_from(workers.outerjoin(held, held.c.worker == workers.c.name))
    rows = (await reader.execute(query.where(is_present()).order_by(workers.c.name))).all()
    return Fleet([Worker(*found) for found in rows])
