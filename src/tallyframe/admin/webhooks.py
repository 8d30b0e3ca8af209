"""Look at the events of webhooks, apply one again, or say that one will never be applied; each act with its line."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tallyframe.admin.log import Action, Decision, Subject, audit_entry
from tallyframe.db import Database, Transaction
from tallyframe.errors import AlreadyApplied, NotFound, NotReplayable
from tallyframe.webhooks import received
from tallyframe.webhooks.apply import apply_locked, failure_is_kept
from tallyframe.webhooks.base import Event, EventStatus, Outcome, Sources
from tallyframe.webhooks.tables import webhook_events

Row = sa.RowMapping

_row = webhook_events.c


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which events: those with these values, where they are given."""

    source: str | None = None
    status: EventStatus | None = None


async def listed(db: Database, wanted: Filter, *, before: tuple[datetime, UUID] | None, limit: int) -> Sequence[Row]:
    """Return events without headers and bodies, newest first; `before` are time and id of the last one seen."""
    columns = [column for column in webhook_events.c if column.name not in {"headers", "body"}]
    query = sa.select(*columns).order_by(_row.received_at.desc(), _row.id.desc()).limit(limit)
    if wanted.source is not None:
        query = query.where(_row.source == wanted.source)
    if wanted.status is not None:
        query = query.where(_row.status == wanted.status)
    if before:
        seen = sa.tuple_(*map(sa.literal, before), types=[_row.received_at.type, _row.id.type])
        query = query.where(sa.tuple_(_row.received_at, _row.id) < seen)
    return (await db.run(query)).mappings().all()


async def one(db: Database, event_id: UUID) -> Row | None:
    """Return an event with its headers and body, if it is there."""
    return (await db.run(sa.select(webhook_events).where(_row.id == event_id))).mappings().one_or_none()


async def replay(db: Database, sources: Sources, decision: Decision, event_id: UUID) -> Outcome:
    """Apply the event, whether or not that has been done before, and log it in the same transaction.

    Raises NotFound, NotReplayable, and what applying raises; then nothing is changed or logged.
    """
    async with failure_is_kept(db, event_id), db.transaction() as transaction:
        event = await _locked(transaction, event_id)
        if event.body is None or event.source not in sources:
            raise NotReplayable
        outcome = await apply_locked(transaction, sources, event)
        await _log(transaction, decision, Action.REPLAY_WEBHOOK, event, outcome=outcome.status)
        return outcome


async def dismiss(db: Database, decision: Decision, event_id: UUID) -> None:
    """Give up on an event that has yet to be applied: it counts as ignored. Raises NotFound and AlreadyApplied."""
    async with db.transaction() as transaction:
        event = await _locked(transaction, event_id)
        if event.status != "received":
            raise AlreadyApplied
        ignored = {"status": "ignored", "finished_at": sa.func.clock_timestamp()}
        await transaction.execute(sa.update(webhook_events).where(_row.id == event_id).values(**ignored))
        await received.drop_call(transaction, event_id)
        await _log(transaction, decision, Action.DISMISS_WEBHOOK, event)


async def _locked(transaction: Transaction, event_id: UUID) -> Event:
    event = await received.lock(transaction, event_id)
    if event is None:
        raise NotFound
    return event


async def _log(transaction: Transaction, decision: Decision, action: Action, event: Event, **details: str) -> None:
    act = sa.select(_row.id).where(_row.id == event.id).subquery("act")
    told = {"source": event.source, "event_id": event.event_id, "type": event.type, **details}
    await transaction.execute(audit_entry(decision, action, act, Subject(None), told))
