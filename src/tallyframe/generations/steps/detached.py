"""Orders that are under way at a vendor when their run ends. The answer is still awaited and recorded.

A run ends early when its generation is canceled, expires or is taken over, or when the worker stops. The vendor works
on. If a ticket comes, it is kept, so that it can be withdrawn; if a result comes, its step is marked `orphaned`.
"""

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

import structlog

from tallyframe.errors import FailureCode, GenerationError, ProviderError
from tallyframe.generations.claim import ClaimLost
from tallyframe.generations.steps.rows import StepRows
from tallyframe.providers.base import Answer, Ticket

log = structlog.get_logger()

T = TypeVar("T")

#: Seconds that a stopping worker waits for detached calls.
PATIENCE = 5.0


@dataclass(frozen=True, slots=True)
class DetachedCall:
    """An order under way. `repeatable`: may it be placed again when nobody knows what became of it?"""

    generation_id: UUID
    rows: StepRows
    step: str
    attempt: int
    repeatable: bool


class DetachedCalls:
    """The orders of this process whose run has ended before the vendor has answered."""

    def __init__(self) -> None:
        self._followed: dict[asyncio.Task[None], DetachedCall] = {}
        self._finishing: dict[asyncio.Task[Any], UUID] = {}  # by generation

    def follow(self, ordering: "asyncio.Task[Answer | GenerationError]", call: DetachedCall) -> None:
        """Record the answer to the order when it comes."""
        task = asyncio.create_task(_book(ordering, call))
        self._followed[task] = call
        task.add_done_callback(self._followed.pop)

    def finish(self, generation_id: UUID, write: Coroutine[None, None, T]) -> "asyncio.Task[T]":
        """Start to keep what a vendor has said or made; it goes on when whoever waits for it is cancelled."""
        task = asyncio.create_task(write)
        self._finishing[task] = generation_id
        task.add_done_callback(self._finishing.pop)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # whoever waited may have gone
        return task

    def has(self, generation_id: UUID) -> bool:
        """Whether an order is under way that nobody may place again, or an answer of the generation is being kept."""
        calls = [call.generation_id for call in self._followed.values() if not call.repeatable]
        return generation_id in calls or generation_id in self._finishing.values()

    async def aclose(self, seconds: float = PATIENCE) -> None:
        """Wait up to `seconds` for orders that are still under way, and give up the rest."""
        under_way = [*self._followed, *self._finishing]
        if under_way:
            await asyncio.wait(under_way, timeout=seconds)
        for task in under_way:
            task.cancel()
        await asyncio.gather(*under_way, return_exceptions=True)


async def _book(ordering: "asyncio.Task[Answer | GenerationError]", call: DetachedCall) -> None:
    try:
        answer = await ordering
        if isinstance(answer, Ticket):
            await call.rows.keep_late_ticket(call.step, call.attempt, answer.value)
        elif isinstance(answer, GenerationError):
            if isinstance(answer, ProviderError) and answer.in_doubt:
                answer.retryable = call.repeatable
            await call.rows.end_late(call.step, call.attempt, answer, delivered=False)
        else:
            words = "A result came when nobody waited for it any more; it was not kept."
            came = GenerationError(FailureCode.PROVIDER_TIMEOUT, retryable=call.repeatable, operator_message=words)
            await call.rows.end_late(call.step, call.attempt, came, delivered=True)
            log.warning("orphaned_result", step=call.step, key=None)
    except (ClaimLost, asyncio.CancelledError):  # nothing was ordered, or we give it up
        log.info("detached_call_dropped", step=call.step, attempt=call.attempt)
    except Exception:  # the database is away, or a bug: the step stays an intent, which is booked as a doubt later
        log.exception("late_answer_lost", step=call.step, attempt=call.attempt)
    finally:
        ordering.cancel()
