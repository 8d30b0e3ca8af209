"""The events as rows: stored before they are applied, marked when they are, erased and pruned later."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.db import Database, Reader, Transaction, with_writes
from tallyframe.ids import new_id
from tallyframe.outbox.rows import complete_where, enqueue
from tallyframe.outbox.tables import outbox
from tallyframe.redaction import SECRET_NAMES
from tallyframe.webhooks.base import Event, Outcome, Verified
from tallyframe.webhooks.tables import APPLY_WEBHOOK, webhook_events

#: Seconds after which a worker applies what the process that stored it hasn't.
GRACE = 60
#: Seconds between two tries of a worker: so many after the first failure, doubled after each, up to an hour.
RETRY_FIRST, RETRY_MOST = 30, 3600

_row = webhook_events.c


async def store(db: Database, source: str, verified: Verified, headers: Mapping[str, str], body: bytes) -> UUID | None:
    """Keep the event, unless one with its id is there: the first one stays. Return our id of what is to be applied.

    A new event comes with a call for a worker, in case that this process doesn't get to apply it. None: the event has
    been applied or ignored before.
    """
    values = {"id": new_id(), "source": source, "event_id": verified.event_id, "type": verified.type}
    harmless = {name: value for name, value in headers.items() if not SECRET_NAMES.search(name.replace("-", "_"))}
    content = {"subject": verified.subject, "headers": harmless, "body": body}
    insert = postgresql.insert(webhook_events).values(**values, **content, status="received")
    stored = insert.on_conflict_do_nothing().returning(_row.id).cte("stored")
    due = sa.func.clock_timestamp() + sa.literal(timedelta(seconds=GRACE), sa.Interval())
    statement = with_writes(sa.select(stored.c.id), enqueue(APPLY_WEBHOOK, stored, due))
    new: UUID | None = (await db.run(statement)).scalar_one_or_none()
    this = (_row.source == source) & (_row.event_id == verified.event_id)
    waiting = sa.select(_row.id).where(this, _row.status == "received")
    return new or (await db.run(waiting)).scalar_one_or_none()


async def lock(transaction: Transaction, event_id: UUID) -> Event | None:
    """Return the event, which nobody else can apply until the transaction ends."""
    columns = [_row[name] for name in Event.__dataclass_fields__]
    query = sa.select(*columns).where(_row.id == event_id).with_for_update()
    found = (await transaction.execute(query)).one_or_none()
    return Event(*found) if found else None


async def finish(transaction: Transaction, event: Event, outcome: Outcome) -> None:
    """Mark the event as applied or ignored, and take its call out of the outbox.

    What has once been applied stays so, although nothing may be left to be done when it is applied again.
    """
    status = "applied" if event.status == "applied" else outcome.status
    done = {"status": status, "finished_at": sa.func.clock_timestamp(), "attempts": _row.attempts + 1, "error": None}
    await transaction.execute(sa.update(webhook_events).where(_row.id == event.id).values(**done))
    await drop_call(transaction, event.id)
    if outcome.subject_is_gone and event.subject is not None:
        await _erase(transaction, event.source, event.subject)


async def drop_call(transaction: Transaction, event_id: UUID) -> None:
    """Take the call for the event out of the outbox: there is nothing left for a worker to do."""
    await transaction.execute(complete_where(APPLY_WEBHOOK, outbox.c.ref == event_id))


async def _erase(transaction: Transaction, source: str, subject: str) -> None:
    """Forget what the source has sent about a person who is gone; what hasn't been applied won't be.

    An event that somebody is just applying is passed over, or each could wait for the other: it will find the person
    gone, and erase itself.
    """
    theirs = (_row.source == source) & (_row.subject == subject) & _row.body.is_not(None)
    free = sa.select(_row.id).where(theirs).with_for_update(skip_locked=True)
    status = sa.case((_row.status == "received", "ignored"), else_=_row.status)
    gone: dict[str, Any] = {"body": None, "headers": {}, "error": None, "status": status}
    await transaction.execute(sa.update(webhook_events).where(_row.id.in_(free)).values(**gone))


async def keep_failure(db: Database, event_id: UUID, error: str) -> None:
    """Note that the event could not be applied, and why, and have a worker try again later."""
    waiting = (_row.id == event_id) & (_row.status == "received")
    update = sa.update(webhook_events).where(waiting).values(attempts=_row.attempts + 1, error=error)
    failed = update.returning(_row.id, _row.attempts).cte("failed")
    doubled = RETRY_FIRST * sa.func.power(2, sa.func.least(failed.c.attempts - 1, 10))
    pause = sa.func.make_interval(0, 0, 0, 0, 0, 0, sa.func.least(doubled, RETRY_MOST), type_=sa.Interval())
    due = sa.func.clock_timestamp() + pause
    await db.run(with_writes(sa.select(failed.c.id), enqueue(APPLY_WEBHOOK, failed, due)))


async def prune(db: Database, *, days: int) -> int:
    """Forget events older than `days`, but not those that have yet to be applied; return how many."""
    age = sa.func.now() - sa.literal(timedelta(days=days), sa.Interval())
    old = sa.delete(webhook_events).where(_row.received_at < age, _row.status != "received")
    return (await db.run(old)).rowcount


async def counted(reader: Reader) -> list[tuple[str, str, int]]:
    """Return how many events there are, by source and status."""
    query = sa.select(_row.source, _row.status, sa.func.count()).group_by(_row.source, _row.status)
    rows: Any = (await reader.execute(query)).all()
    return [tuple(row) for row in rows]
