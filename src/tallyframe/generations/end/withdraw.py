"""⑥ A generation ended while a vendor was still at work on it: ask the vendor to stop, where it can, and book it."""

import asyncio
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog

from tallyframe.calls.gate import CallContext, Refused
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.generations.end.sweep import is_over
from tallyframe.generations.steps.decide import find_provider
from tallyframe.generations.steps.execute import RunDependencies
from tallyframe.generations.tables import WITHDRAW, generation_steps, generations
from tallyframe.outbox.tables import outbox
from tallyframe.providers.base import Provider

log = structlog.get_logger()

#: How often a vendor is asked, at most. A job that waits behind others has asked nobody, and counts for nothing. The
#: questions are at least 5, 10, 20, 40 and then 60 seconds apart.
MOST_ASKED = 10

#: Seconds that a vendor has for its answer; an order may take longer. Then the withdrawal makes way for others.
CANCEL_SECONDS = 20.0

STOPPED = "stopped at the vendor"
NOT_STOPPED = "could not be stopped at the vendor, which may bill it"

_step = generation_steps.c
_OPEN = _step.state.in_(("ticket", "in_doubt"))
#: A step of which a vendor may still be at work, with its ticket.
OpenTicket = sa.Row[*tuple[Any, ...]]


async def withdraw(dependencies: RunDependencies, generation_id: UUID) -> str:
    """Stop what vendors still work on for an ended generation; return what became of it, for the log.

    If a vendor can't be asked now, the outbox row stays, and this is called again.
    """
    db = dependencies.db
    call = (outbox.c.kind == WITHDRAW) & (outbox.c.ref == generation_id)
    if not (await db.run(sa.select(sa.exists().where(call)))).scalar_one():
        return "not_taken"
    columns = (_step.generation_id, _step.name, _step.attempt, _step.provider, _step.model, _step.ticket)
    query = (
        sa.select(*columns, generations.c.operation, is_over(generations.c.finished_at).label("is_over"))
        .join(generations, generations.c.id == _step.generation_id)
        .where(_step.generation_id == generation_id, _step.ticket.is_not(None), _OPEN)
        .where(generations.c.finished_at.is_not(None))
        .order_by(_step.name, _step.attempt)
    )
    steps = (await db.run(query)).all()
    stopping = [_stop(dependencies, step) for step in steps]
    ended = await asyncio.gather(*stopping, return_exceptions=True)  # what fails for one cuts off no other
    for error in ended:
        if isinstance(error, BaseException):
            raise error
    if not all(ended):
        return "again"
    # Orders whose worker died before an answer came are in doubt: the vendor may have billed them.
    over = sa.exists().where(generations.c.id == generation_id, is_over(generations.c.finished_at))
    doubt = {"state": "in_doubt", "is_final": True, "operator_message": "never answered", "ended_at": sa.func.now()}
    silent = (_step.generation_id == generation_id) & (_step.state == "intent")
    await db.run(sa.update(generation_steps).where(silent, over).values(**doubt))
    await db.run(sa.delete(outbox).where(call))
    return "withdrawn"


async def _stop(dependencies: RunDependencies, step: OpenTicket) -> bool:
    """Ask the vendor to stop work on a ticket, and book what came of it. False: the vendor is to be asked again."""
    about = {"generation_id": str(step.generation_id), "step": step.name, "attempt": step.attempt}
    provider, words = find_provider(dependencies.providers, step.provider), NOT_STOPPED
    context = CallContext(step.generation_id, step.operation, step.name, step.attempt, "cancel")
    asked = await dependencies.gate.calls(context)
    if provider is None and not asked and not step.is_over:  # another worker may know this vendor
        return False
    try:
        if provider and asked < MOST_ASKED:
            entered = await dependencies.gate.enter(step.provider, step.model, context)
            if isinstance(entered, Refused):  # nobody was asked, so there is nothing to book
                return False
            async with dependencies.gate.recording(entered):
                words = STOPPED if await _cancel(provider, step.ticket) else NOT_STOPPED
    except ProviderError as error:
        if asked + 1 < MOST_ASKED:
            log.warning("withdraw_failed", **about, error=type(error).__name__)
            return False
    this = (_step.generation_id == step.generation_id) & (_step.name == step.name) & (_step.attempt == step.attempt)
    ended = {"state": "withdrawn", "operator_message": words, "ended_at": sa.func.now()}
    await dependencies.db.run(sa.update(generation_steps).where(this, _OPEN).values(**ended))
    log.info("withdrawn", **about, provider=step.provider, words=words)
    return True


async def _cancel(provider: Provider, ticket: str) -> bool:
    """Ask the vendor to stop; tell whether it has. Raises ProviderError, also where no answer comes in time."""
    try:
        async with asyncio.timeout(CANCEL_SECONDS):
            return await provider.cancel(ticket)
    except TimeoutError:
        said = f"No answer in {CANCEL_SECONDS:.0f} seconds."
        raise ProviderError(FailureCode.PROVIDER_TIMEOUT, operator_message=said) from None
