"""Tells an event that is told again from one that is new."""

from datetime import timedelta

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.db import Database, Transaction
from tallyframe.webhooks.tables import webhook_events


async def is_new(transaction: Transaction, source: str, event_id: str, kind: str) -> bool:
    """Note the event, in the transaction that does what it asks for; False if that has been done before.

    Of two that arrive at once, the second waits here for the first to commit.
    """
    row = {"source": source, "event_id": event_id, "type": kind}
    insert = postgresql.insert(webhook_events).values(**row).on_conflict_do_nothing()
    return (await transaction.execute(insert.returning(webhook_events.c.event_id))).one_or_none() is not None


async def prune(db: Database, *, days: int) -> int:
    """Forget events older than `days`, which nobody tells again any more; return how many."""
    age = sa.func.now() - sa.literal(timedelta(days=days), sa.Interval())
    return (await db.run(sa.delete(webhook_events).where(webhook_events.c.received_at < age))).rowcount
