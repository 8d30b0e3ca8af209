"""Apply a stored event: its effects and its mark are one transaction, so that each event has its effects once.

Who applies: the process that has stored it, the sender's next try, a worker, or an administrator who has it replayed.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from uuid import UUID

import structlog
from pydantic import ValidationError
from sqlalchemy.exc import DBAPIError

from tallyframe import observe
from tallyframe.db import Database, Transaction
from tallyframe.errors import TallyframeError, Unavailable
from tallyframe.lost import sqlstate
from tallyframe.webhooks import received
from tallyframe.webhooks.base import Event, Outcome, Sources

log = structlog.get_logger()


class SourceNotSetUp(Exception):
    """The settings don't set up the source of a stored event, or not any more."""


async def apply(db: Database, sources: Sources, event_id: UUID) -> Outcome:
    """Do what a stored event asks for, unless that has been done. A second caller waits here for the first.

    Raises what the source raises; the event then waits for its next try, with the error noted.
    """
    async with failure_is_kept(db, event_id), db.transaction() as transaction:
        event = await received.lock(transaction, event_id)
        if event is not None and event.status == "received":
            return await apply_locked(transaction, sources, event)
        await received.drop_call(transaction, event_id)
        return Outcome("replayed")


async def apply_locked(transaction: Transaction, sources: Sources, event: Event) -> Outcome:
    """Do what an event asks for that this transaction has locked, whether or not it has been done before."""
    source = sources.get(event.source)
    if source is None:
        raise SourceNotSetUp
    outcome = await source.apply(transaction, event)
    await received.finish(transaction, event, outcome)
    return outcome


async def apply_stored(db: Database, sources: Sources, event_id: UUID) -> Outcome | None:
    """Apply an event that has an outbox row; None: it can't be applied now, and the row stays for a later try.

    `db` acts as `WEBHOOKS_ROLE`. Raises Unavailable when the database is away.
    """
    try:
        return await apply(db, sources, event_id)
    except Unavailable:
        raise
    except Exception as error:
        log.exception("webhook_crashed", id=str(event_id))
        observe.report(error)
        return None


@asynccontextmanager
async def failure_is_kept(db: Database, event_id: UUID) -> AsyncIterator[None]:
    """Note why the event could not be applied, where the block raises; the error goes on."""
    try:
        yield
    except Exception as error:
        reason = _in_words(error)
        log.warning("webhook_failed", id=str(event_id), error=reason)
        with suppress(Unavailable):  # then nothing is noted; the outbox row stays, so a worker tries again
            await received.keep_failure(db, event_id, reason)
        raise


def _in_words(error: Exception) -> str:
    """Return what went wrong, without what was sent: values are personal data, and outlive their event in logs."""
    if isinstance(error, ValidationError):
        wrong = [f"/{'/'.join(map(str, each['loc']))}: {each['msg']}" for each in error.errors(include_input=False)]
        return "; ".join(["ValidationError", *wrong[:5]])
    if isinstance(error, TallyframeError):
        return f"{type(error).__name__}: {error.detail}"
    state = sqlstate(error) if isinstance(error, DBAPIError) else ""
    return f"{type(error).__name__} {state}".strip()
