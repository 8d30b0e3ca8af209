"""An order that is under way at a vendor outlives the run that placed it: its answer is booked, whoever has gone.

A run ends early when its generation is canceled, expires or is taken over, or when the worker stops. The vendor doesn't
know: a ticket that comes then is kept, so that it can be withdrawn; a result is noted as an orphan.
"""

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from uuid import UUID

import structlog

from tallyframe.calls.gate import CircuitOpen, NoSlot
from tallyframe.errors import FailureCode, GenerationError, ProviderError
from tallyframe.generations.steps.rows import ClaimLost, Steps
from tallyframe.providers.base import Media, Ticket

log = structlog.get_logger()

#: Seconds that a stopping worker waits for answers which nobody waits for any more.
PATIENCE = 5.0

#: Nothing was ordered, or the ticket has been booked by the order itself.
_NOTHING_TO_BOOK = (ClaimLost, CircuitOpen, NoSlot, asyncio.CancelledError)


@dataclass(frozen=True, slots=True)
class Order:
    """An order under way. `repeatable`: may it be placed again when nobody knows what became of it?"""

    generation_id: UUID
    steps: Steps
    role: str
    attempt: int
    repeatable: bool


class DetachedCalls:
    """The orders of this process whose run has ended before them."""

    def __init__(self) -> None:
        self._followed: dict[asyncio.Task[None], Order] = {}

    def follow(self, ordering: asyncio.Task[Media | Ticket], order: "Order") -> None:
        """Book what comes of the order, when it comes."""
        task = asyncio.create_task(_book(ordering, order))
        self._followed[task] = order
        task.add_done_callback(self._followed.pop)

    def has(self, generation_id: UUID) -> bool:
        """Whether an order of the generation is still under way that nobody may place again."""
        orders = self._followed.values()
        return any(order.generation_id == generation_id and not order.repeatable for order in orders)

    async def aclose(self, seconds: float = PATIENCE) -> None:
        """Wait so many seconds for what is still under way, and then give it up."""
        if self._followed:
            await asyncio.wait(self._followed, timeout=seconds)
        for task in list(self._followed):
            task.cancel()
        await asyncio.gather(*self._followed, return_exceptions=True)


async def _book(ordering: asyncio.Task[Media | Ticket], order: Order) -> None:
    try:
        with suppress(*_NOTHING_TO_BOOK):
            await _note(ordering, order)
    except Exception:  # the database is away, or a bug: the step stays an intent, which is booked as a doubt later
        log.exception("late_answer_lost", role=order.role, attempt=order.attempt)
    finally:
        ordering.cancel()


async def _note(ordering: asyncio.Task[Media | Ticket], order: Order) -> None:
    try:
        answer = await ordering
    except ProviderError as error:
        if error.in_doubt:
            error.retryable = order.repeatable
        await order.steps.end_late(order.role, order.attempt, error, delivered=False)
        return
    if isinstance(answer, Media):
        words = "A result came when nobody waited for it any more; it was not kept."
        came = GenerationError(FailureCode.PROVIDER_TIMEOUT, retryable=order.repeatable, operator_message=words)
        await order.steps.end_late(order.role, order.attempt, came, delivered=True)
        log.warning("orphaned_result", role=order.role, key=None)
