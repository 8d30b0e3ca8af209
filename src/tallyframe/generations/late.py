"""An order that is under way at a vendor outlives the run that placed it: its answer is booked, whoever has gone.

A run ends early when its generation is canceled, expires or is taken over, or when the worker stops. The vendor doesn't
know: a ticket that comes then is kept, so that it can be withdrawn; a result is noted as an orphan.
"""

import asyncio
from contextlib import suppress

import structlog

from tallyframe.calls.gate import CircuitOpen, NoSlot
from tallyframe.errors import ProviderError, Unavailable
from tallyframe.generations.steps import ClaimLost, Steps
from tallyframe.providers.base import Media, Ticket

log = structlog.get_logger()

#: Nothing was ordered, or the ticket has been booked by the order itself.
_NOTHING_TO_BOOK = (ClaimLost, CircuitOpen, NoSlot, asyncio.CancelledError)


class Latecomers:
    """The orders of this process whose run has ended before them."""

    def __init__(self) -> None:
        self._followed: set[asyncio.Task[None]] = set()

    def follow(self, ordering: asyncio.Task[Media | Ticket], steps: Steps, role: str, attempt: int) -> None:
        """Book what comes of the order, when it comes."""
        task = asyncio.create_task(_book(ordering, steps, role, attempt))
        self._followed.add(task)
        task.add_done_callback(self._followed.discard)

    async def aclose(self, seconds: float) -> None:
        """Wait so many seconds for what is still under way, and then give it up."""
        if self._followed:
            await asyncio.wait(self._followed, timeout=seconds)
        for task in list(self._followed):
            task.cancel()
        await asyncio.gather(*self._followed, return_exceptions=True)


async def _book(ordering: asyncio.Task[Media | Ticket], steps: Steps, role: str, attempt: int) -> None:
    try:
        with suppress(*_NOTHING_TO_BOOK):
            await _note(ordering, steps, role, attempt)
    except Unavailable:  # the database is away: the step stays an intent, which whoever comes next books as a doubt
        log.warning("late_answer_lost", role=role, attempt=attempt)
    finally:
        ordering.cancel()


async def _note(ordering: asyncio.Task[Media | Ticket], steps: Steps, role: str, attempt: int) -> None:
    try:
        answer = await ordering
    except ProviderError as error:
        await steps.end_late(role, attempt, "in_doubt" if error.in_doubt else "failed", error.operator_message)
        return
    if isinstance(answer, Media):
        await steps.end_late(role, attempt, "orphaned", "came after the end, and was not kept")
        log.warning("orphaned_result", role=role, key=None)
