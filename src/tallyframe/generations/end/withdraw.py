"""A generation ended while a vendor was still at work on it: ask the vendor to stop, where it can, and book it."""

from uuid import UUID

import sqlalchemy as sa
import structlog

from tallyframe.calls.gate import CallContext
from tallyframe.db import Database
from tallyframe.errors import ProviderError
from tallyframe.generations.end.sweep import is_over
from tallyframe.generations.steps.execute import RunDependencies
from tallyframe.generations.tables import WITHDRAW, generation_steps, generations
from tallyframe.outbox.tables import outbox
from tallyframe.providers.base import Provider

log = structlog.get_logger()

#: Rings after which a vendor that can't be asked is left alone; they are 5, 10, 20, 40 and then 60 seconds apart.
MOST_RINGS = 10

_OPEN = generation_steps.c.state.in_(("ticket", "in_doubt"))

STOPPED = "stopped at the vendor"
NOT_STOPPED = "could not be stopped at the vendor, which may bill it"


async def withdraw(dependencies: RunDependencies, generation_id: UUID) -> str:
    """Stop what the vendor still works on for an ended generation; return what became of it, for the log.

    A vendor that can't be asked now is asked again when the outbox rings again.
    """
    rings = await dependencies.db.run(
        sa.select(outbox.c.rings).where(outbox.c.kind == WITHDRAW, outbox.c.ref == generation_id)
    )
    rung = rings.scalar_one_or_none()
    if rung is None:
        return "not_taken"
    for step in await _open_tickets(dependencies.db, generation_id):
        try:
            words = await _stop(dependencies, generation_id, step) if rung <= MOST_RINGS else NOT_STOPPED
        except ProviderError as error:
            if rung < MOST_RINGS:
                log.warning("withdraw_failed", generation_id=str(generation_id), error=type(error).__name__)
                return "again"
            words = NOT_STOPPED
        await _book(dependencies.db, generation_id, step, words)
        log.info("withdrawn", generation_id=str(generation_id), provider=step.provider, words=words)
    await _book_doubts(dependencies.db, generation_id)
    await dependencies.db.run(sa.delete(outbox).where(outbox.c.kind == WITHDRAW, outbox.c.ref == generation_id))
    return "withdrawn"


async def _open_tickets(db: Database, generation_id: UUID) -> "list[sa.Row[*tuple[str, int, str, str, str]]]":
    step = generation_steps.c
    query = (
        sa.select(step.name, step.attempt, step.provider, step.ticket, generations.c.operation)
        .join(generations, generations.c.id == step.generation_id)
        .where(step.generation_id == generation_id, step.ticket.is_not(None), _OPEN)
        .where(generations.c.finished_at.is_not(None))
    )
    return list((await db.run(query)).all())


async def _book_doubts(db: Database, generation_id: UUID) -> None:
    """Book orders of which nothing was ever heard: the worker died with them, and the vendor may have billed them."""
    row = generation_steps.c
    over = sa.exists().where(generations.c.id == generation_id, is_over(generations.c.finished_at))
    doubt = {"state": "in_doubt", "is_final": True, "operator_message": "never answered", "ended_at": sa.func.now()}
    silent = (row.generation_id == generation_id) & (row.state == "intent")
    await db.run(sa.update(generation_steps).where(silent, over).values(**doubt))


async def _stop(
    dependencies: RunDependencies, generation_id: UUID, step: "sa.Row[*tuple[str, int, str, str, str]]"
) -> str:
    provider = _find(dependencies, step.name, step.provider)
    if provider is None:
        return NOT_STOPPED
    async with dependencies.gate.call(provider, CallContext(generation_id, step.operation, step.attempt, "cancel")):
        stopped = await provider.cancel(step.ticket)
    return STOPPED if stopped else NOT_STOPPED


def _find(dependencies: RunDependencies, role: str, name: str) -> Provider | None:
    providers: tuple[Provider, ...] = dependencies.providers.image if role == "image" else dependencies.providers.video
    return next((provider for provider in providers if provider.name == name), None)


async def _book(db: Database, generation_id: UUID, step: "sa.Row[*tuple[str, int, str, str, str]]", words: str) -> None:
    row = generation_steps.c
    this = (row.generation_id == generation_id) & (row.name == step.name) & (row.attempt == step.attempt)
    ended = {"state": "withdrawn", "operator_message": words, "ended_at": sa.func.now()}
    await db.run(sa.update(generation_steps).where(this, _OPEN).values(**ended))
