"""Does one step: plans it, asks the provider whose turn it is, and turns what comes of that into a decision.

No transaction is ever open here. What is raised by adapters ends here: everything after this file is a value.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import structlog

from tallyframe import observe
from tallyframe.calls.gate import CallContext, Gate, Record, Refused
from tallyframe.db import Database
from tallyframe.errors import FailureCode, GenerationError, ProviderError, Unavailable
from tallyframe.generations.claim import Claim
from tallyframe.generations.steps.decide import RetryPolicy, decide, doubt_about, plan
from tallyframe.generations.steps.detached import DetachedCall, DetachedCalls
from tallyframe.generations.steps.results import keep_result
from tallyframe.generations.steps.rows import StepRows
from tallyframe.generations.steps.values import (
    Asked,
    Collect,
    Decision,
    Done,
    Kept,
    NotStored,
    Order,
    Route,
    Snooze,
    Try,
    Waiting,
)
from tallyframe.jitter import jittered
from tallyframe.providers.base import Answer, Call, Data, Media, Providers, Task, Ticket
from tallyframe.storages.base import Storages

log = structlog.get_logger()

#: Seconds until an order that found no free slot at its provider tries again.
SLOT_AGAIN = 2.0

#: Seconds until a step is looked at again whose connection to the database was lost.
INTERRUPTED = 1.0


@dataclass(frozen=True, slots=True)
class RunDependencies:
    """What all runs of a worker share."""

    db: Database
    providers: Providers
    storages: Storages
    gate: Gate
    retry: RetryPolicy
    detached: DetachedCalls = field(default_factory=DetachedCalls)


@dataclass(frozen=True, slots=True)
class Step:
    """One step of one claimed generation, with its earlier tries."""

    dependencies: RunDependencies
    claim: Claim
    rows: StepRows
    name: str
    task: Task
    tries: Sequence[Try]

    async def perform(self, *, again: bool = False) -> Decision:
        """Do what is next for the step, and return what came of it; `again`: what was kept of it since is read first.

        A connection to the database that is lost in one step doesn't cost what the steps beside it have ordered: the
        step is looked at again. Raises ClaimLost.
        """
        try:
            step = replace(self, tries=(await self.rows.tries()).get(self.name, ())) if again else self
            return await step._next()  # noqa: SLF001  # our own
        except Unavailable as error:
            log.warning("step_interrupted", step=self.name, error=str(error))
            return Snooze(INTERRUPTED)

    async def _next(self) -> Decision:
        planned = plan(self.name, self.tries, self._routes())
        match planned:
            case Collect(latest, route, others):
                return await self._collect(latest, route, others)
            case Order(routes, doubtful):
                if doubtful:
                    await self.rows.keep(doubt_about(self.name, doubtful))
                return await self._order(routes)
            case Done(result) if self.tries[-1].state == "orphaned":
                # It came to a run that had lost its claim just then. This one delivers it, so it is no orphan any more.
                await self.rows.finish(self.name, self.tries[-1].attempt, result)
        return planned

    def _routes(self) -> list[Route]:
        """Return a route for each provider of the task's capability, in order."""
        capability = self.task.capability
        offered = [(each, each.offers[capability]) for each in self.dependencies.providers.get(capability, ())]
        return [Route(provider, offer, self.task.fits(offer)) for provider, offer in offered]

    async def _order(self, routes: Sequence[Route]) -> Decision:
        """Order from the first provider whose circuit is closed."""
        attempt = max((each.attempt for each in self.tries), default=0) + 1
        refusals: list[Refused] = []
        for route in routes:
            entered = await self._enter(route, attempt, "order")
            if isinstance(entered, Record):
                asked = self._asked(route, attempt, has_others=len(routes) > 1)
                return await self._place(asked, entered)
            if entered.open_for is None:
                return _for_a_slot()
            refusals.append(entered)
        if any(each.is_being_tried for each in refusals):
            return _for_a_slot()
        words = f"the circuits of {', '.join(route.provider.name for route in routes)} are open"
        wait = max(min(each.open_for or 0.0 for each in refusals), 1.0)
        closed = ProviderError(
            FailureCode.PROVIDER_UNAVAILABLE, retryable=True, retry_after=wait, operator_message=words
        )
        asked = self._asked(routes[0], attempt, has_others=False)
        return decide(asked, closed, self.dependencies.retry)

    async def _place(self, asked: Asked, record: Record) -> Decision:
        ordering = asyncio.create_task(self._start(asked, record))
        try:
            answer = await asyncio.shield(ordering)
        except asyncio.CancelledError:  # the run ends, but the vendor goes on
            repeatable = asked.route.provider.repeatable
            call = DetachedCall(self.claim.id, self.rows, self.name, asked.attempt, repeatable)
            self.dependencies.detached.follow(ordering, call)
            raise
        return await self._decide(asked, answer)

    async def _start(self, asked: Asked, record: Record) -> Answer | GenerationError:
        """Read the inputs, commit the intent, and ask the vendor. Nothing of ours can fail between the last two."""
        call = self._call(record, asked.attempt)
        try:
            async with self.dependencies.gate.recording(record):
                for picture in self.task.inputs:
                    await picture.read()
                await self.rows.intend(asked)
                answer = await asked.route.provider.start(self.task, call)
                if isinstance(answer, Ticket):
                    record.status = "accepted"
                return answer
        except GenerationError as error:
            return error

    async def _collect(self, latest: Try, route: Route, others: Sequence[Route]) -> Decision:
        entered = await self._enter(route, latest.attempt, "collect")
        if isinstance(entered, Refused):
            return _for_a_slot()
        answer: Answer | GenerationError
        try:
            async with self.dependencies.gate.recording(entered) as record:
                answer = await route.provider.collect(
                    latest.ticket or "", self.task, self._call(record, latest.attempt)
                )
                record.status = "waiting" if isinstance(answer, Ticket) else record.status
        except GenerationError as error:
            answer = error
        bad = 0
        if isinstance(answer, ProviderError) and answer.code is FailureCode.PROVIDER_REJECTED and answer.retryable:
            bad = await self.dependencies.gate.calls(entered.context, answer.code)
        asked = self._asked(route, latest.attempt, has_others=bool(others), is_collect=True, bad_results=bad)
        return await self._decide(asked, answer)

    async def _decide(self, asked: Asked, answer: Answer | GenerationError) -> Decision:
        policy = self.dependencies.retry
        if isinstance(answer, Media | Data):
            place, storage = (self.name, asked.attempt), self.dependencies.storages.current
            # To the end, even if we are canceled: an upload can't be called back, and it must be known what it left.
            keeping = keep_result(self.rows, self.claim, storage, place, answer)
            try:
                result = await asyncio.shield(self.dependencies.detached.finish(self.claim.id, keeping))
                return decide(asked, Kept(result), policy)
            except GenerationError as error:
                return decide(asked, NotStored(error), policy)
        if isinstance(answer, Ticket):
            return decide(asked, Waiting(answer.value, answer.poll_after), policy)
        self._tell(asked.route, answer)
        return decide(asked, answer, policy)

    def _asked(self, route: Route, attempt: int, **more: Any) -> Asked:  # noqa: ANN401  # fields of Asked
        name = route.provider.name
        retries = sum(each.provider == name and each.attempt < attempt for each in self.tries)
        return Asked(self.name, attempt, route, retries=retries, **more)

    async def _enter(self, route: Route, attempt: int, kind: Literal["order", "collect"]) -> Record | Refused:
        context = CallContext(self.claim.id, self.claim.operation, self.name, attempt, kind)
        return await self.dependencies.gate.enter(route.provider.name, route.offer.model, context)

    def _call(self, record: Record, attempt: int) -> Call:
        return Call(f"{self.claim.id}:{self.name}:{attempt}", attempt, record.usage)

    def _tell(self, route: Route, error: GenerationError) -> None:
        about = {"step": self.name, "code": error.code.value, "operator_message": error.operator_message}
        vendor = {"provider": route.provider.name, "model": route.offer.model}
        if not isinstance(error, ProviderError):  # an input could not be read, and nobody was asked
            log.warning("input_unavailable", **about, retryable=error.retryable)
        elif error.alarm:
            log.error("provider_alarm", **vendor, **about)
            observe.report(error)
        else:
            log.warning("provider_failed", **vendor, **about, retryable=error.retryable)


def _for_a_slot() -> Snooze:
    return Snooze(jittered(SLOT_AGAIN, 0.75, 1.25))
