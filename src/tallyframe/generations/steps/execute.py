"""What a run works with: pictures in, media out, each billable call a durable step. No transaction is ever open here.

How a step goes, by what the latest try left behind:

    nothing, failed, in doubt   intent → call the vendor → ticket? keep it and leave : store → done
    failed for good             the next provider; none left, or it's about the order: the same verdict again
    ticket                      ask the vendor again; never buys again
    intent                      nobody knows: book the doubt; order again only where the provider allows it
    done                        the kept result
"""

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Literal
from uuid import UUID

import structlog

from tallyframe import observe
from tallyframe.assets import rows as asset_rows
from tallyframe.calls.gate import CallContext, CircuitOpen, Gate, NoSlot
from tallyframe.db import Database
from tallyframe.errors import FailureCode, GenerationError, ProviderError
from tallyframe.generations.claim import Claim
from tallyframe.generations.steps.detached import DetachedCalls, Order as LateOrder
from tallyframe.generations.steps.results import store
from tallyframe.generations.steps.retry import RetryPolicy, wanted_wait
from tallyframe.generations.steps.routing import Route, can_make, find_route, is_terminal, remaining
from tallyframe.generations.steps.rows import ClaimLost, Step, Steps
from tallyframe.operations.base import Stored
from tallyframe.providers.base import Call, ImageOrder, Media, Providers, Ticket, VideoOrder
from tallyframe.storages.base import StorageError, Storages

log = structlog.get_logger()

Role = Literal["image", "video"]

#: Seconds until an order that found no free slot at its provider tries again.
SLOT_AGAIN = 2.0

#: Times that a finished result may turn out to be no use, before it counts as one that can't be had.
MOST_BAD_RESULTS = 5

IN_DOUBT = "We lost track of what the provider did with this. Your credits are back; you can order it again."


class Snoozed(Exception):
    """Not an error: the vendor isn't ready; leave, and be woken in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wake in {seconds} s")
        self.seconds = seconds


class TryAgain(Exception):
    """This provider may do better in `seconds`: leave, and be run again then."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"again in {seconds} s")
        self.seconds = seconds


class NextProvider(Exception):
    """This provider has said its last word, and there is another one: leave, and be run again at once."""


@dataclass(frozen=True, slots=True)
class RunDependencies:
    """What all runs of a worker share."""

    db: Database
    providers: Providers
    storages: Storages
    gate: Gate
    retry: RetryPolicy
    detached: DetachedCalls = field(default_factory=DetachedCalls)


class RunContext:
    """The operation's `Context` for one claimed generation."""

    def __init__(self, dependencies: RunDependencies, claim: Claim) -> None:
        self._dependencies = dependencies
        self._claim = claim
        self._steps = Steps(dependencies.db, claim)
        self._tries: Sequence[Step] = ()  # earlier ones of the step under way

    async def pictures(self, asset_ids: Sequence[UUID]) -> tuple[Media, ...]:
        """Return the bytes of the input pictures. Raises GenerationError when one is gone or can't be read."""
        found = await asset_rows.find(self._dependencies.db, self._claim.user_id, asset_ids)
        if len(found) != len(set(asset_ids)):
            raise GenerationError(FailureCode.INVALID_INPUT, "A picture of this order has been deleted.")
        return tuple([await self._read(found[asset_id]) for asset_id in asset_ids])

    async def image(self, order: ImageOrder) -> Stored:
        """Have an image made and stored, once."""
        deals = [
            Route(provider, partial(provider.make_image, order), partial(provider.collect_image, order=order))
            for provider in self._dependencies.providers.image
        ]
        able = [deal for deal in deals if can_make(deal.provider.offer, order.aspect_ratio)]
        return await self._durably("image", deals, able)

    async def video(self, order: VideoOrder) -> Stored:
        """Have a video made and stored, once."""
        deals = [
            Route(provider, partial(provider.make_video, order), partial(provider.collect_video, order=order))
            for provider in self._dependencies.providers.video
        ]
        able = [deal for deal in deals if can_make(deal.provider.offer, order.aspect_ratio, order.duration_seconds)]
        return await self._durably("video", deals, able)

    async def _durably(self, role: Role, deals: Sequence[Route], able: Sequence[Route]) -> Stored:
        tries = await self._steps.tries(role)
        latest = tries[-1] if tries else None
        if latest and latest.state in {"done", "orphaned"} and latest.result:  # an orphan, if nobody came in between
            return Stored(**latest.result)
        if latest and latest.state == "ticket" and latest.ticket:
            deal = find_route(deals, latest.provider)
            others = remaining(able, {step.provider for step in tries if step.is_final} | {latest.provider})
            return await self._collect(role, latest, latest.ticket, deal, others)
        if latest and latest.state == "intent":
            repeatable = any(deal.provider.repeatable for deal in deals if deal.provider.name == latest.provider)
            await self._doubt(role, latest, repeatable=repeatable)
        self._tries = tries
        return await self._order(role, self._open(able, tries))

    def _open(self, able: Sequence[Route], tries: Sequence[Step]) -> list[Route]:
        """Return the deals that may still be tried; what was said once stays so, even if settling it was cut short."""
        said = [step for step in tries if step.is_final and step.error_code]
        left = remaining(able, {step.provider for step in said})
        latest = FailureCode(said[-1].error_code or "") if said else None
        if latest and (not left or said[-1].state == "in_doubt" or is_terminal(latest)):
            raise GenerationError(latest, operator_message="as an earlier try has found")
        if not left:
            raise GenerationError(FailureCode.INVALID_INPUT, "No provider makes this shape and length any more.")
        return left

    async def _doubt(self, role: Role, step: Step, *, repeatable: bool) -> None:
        doubt = GenerationError(
            FailureCode.PROVIDER_TIMEOUT, IN_DOUBT, retryable=repeatable, operator_message="in doubt"
        )
        await self._steps.doubt(role, step.attempt, doubt)
        if not repeatable:
            raise doubt

    async def _order(self, role: Role, deals: Sequence[Route]) -> Stored:
        """Order from the first provider whose circuit is closed."""
        stopped: list[CircuitOpen] = []
        for deal in deals:
            others = [other for other in deals if other is not deal]
            try:
                return await self._place(role, deal, others)
            except CircuitOpen as circuit:
                stopped.append(circuit)
        if any(circuit.is_being_tried for circuit in stopped):
            raise Snoozed(_jittered(SLOT_AGAIN))
        words = f"the circuits of {', '.join(deal.provider.name for deal in deals)} are open"
        wait = max(min(circuit.seconds for circuit in stopped), 1.0)
        raise ProviderError(FailureCode.PROVIDER_UNAVAILABLE, retryable=True, retry_after=wait, operator_message=words)

    async def _place(self, role: Role, deal: Route, others: Sequence[Route]) -> Stored:
        attempt = self._claim.attempt
        ordering = asyncio.create_task(self._ask(role, deal))
        try:
            answer = await asyncio.shield(ordering)
        except asyncio.CancelledError:  # nobody waits any more, but the vendor is at work
            self._dependencies.detached.follow(
                ordering, LateOrder(self._claim.id, self._steps, role, attempt, deal.provider.repeatable)
            )
            raise
        except NoSlot:
            raise Snoozed(_jittered(SLOT_AGAIN)) from None
        except ProviderError as error:
            raise await self._verdict(role, attempt, error, deal, others) from None
        if isinstance(answer, Ticket):
            raise Snoozed(answer.poll_after)
        return await self._store_new(role, attempt, answer)

    async def _ask(self, role: Role, deal: Route) -> Media | Ticket:
        attempt, kept = self._claim.attempt, True
        async with self._dependencies.gate.call(deal.provider, self._about("order", attempt)) as record:
            await self._steps.intend(role, deal.provider)
            answer = await deal.make(Call(self._key(role, attempt), attempt, record.usage))
            if isinstance(answer, Ticket):
                record.status = "accepted"
                kept = await self._steps.keep_ticket(role, attempt, answer.value)
        if not kept:
            raise ClaimLost
        return answer

    async def _store_new(self, role: Role, attempt: int, media: Media) -> Stored:
        try:
            return await self._store(role, attempt, media)
        except GenerationError as error:
            # Its bytes are gone with this try, and ordering again would buy it twice: so this is the end.
            final = GenerationError(error.code, operator_message=error.operator_message)
            await self._steps.fail(role, attempt, final)
            raise final from None

    async def _collect(self, role: Role, step: Step, ticket: str, deal: Route, others: Sequence[Route]) -> Stored:
        try:
            async with self._dependencies.gate.call(deal.provider, self._about("collect", step.attempt)) as record:
                answer = await deal.collect(
                    ticket, call=Call(self._key(role, step.attempt), step.attempt, record.usage)
                )
                record.status = "waiting" if isinstance(answer, Ticket) else record.status
        except NoSlot:
            raise Snoozed(_jittered(SLOT_AGAIN)) from None
        except ProviderError as error:
            if await self._is_no_verdict(error, step.attempt):
                self._tell(deal, error)
                raise Snoozed(_jittered(max(self._dependencies.retry.collect_again, wanted_wait(error)))) from None
            raise await self._verdict(role, step.attempt, error, deal, others) from None
        if isinstance(answer, Ticket):
            raise Snoozed(answer.poll_after)
        return await self._store(role, step.attempt, answer)

    async def _is_no_verdict(self, error: ProviderError, attempt: int) -> bool:
        """Tell whether just the asking failed. A result that is no use again and again is one that can't be had."""
        if error.code is FailureCode.PROVIDER_REJECTED and error.retryable:
            bad = await self._dependencies.gate.failures(self._about("collect", attempt), error.code)
            error.retryable, error.spent = bad < MOST_BAD_RESULTS, True
        return error.retryable or error.alarm

    async def _verdict(
        self, role: Role, attempt: int, error: ProviderError, deal: Route, others: Sequence[Route]
    ) -> Exception:
        """Keep what the provider said, and return what the run is to do about it."""
        self._tell(deal, error)
        if error.in_doubt or error.spent:
            again = error.in_doubt and deal.provider.repeatable
            words = IN_DOUBT if error.in_doubt else error.message
            doubt = GenerationError(error.code, words, retryable=again, operator_message=error.operator_message)
            await self._steps.doubt(role, attempt, doubt)
            return doubt
        retries = sum(step.provider == deal.provider.name for step in self._tries)
        if not self._dependencies.retry.gives_up(error, retries):
            await self._steps.fail(role, attempt, error)
            return TryAgain(self._dependencies.retry.delay(error, retries))
        final = GenerationError(error.code, error.message, operator_message=error.operator_message)
        await self._steps.fail(role, attempt, final)
        return NextProvider() if others and not is_terminal(error.code) else final

    def _tell(self, deal: Route, error: ProviderError) -> None:
        about = {"provider": deal.provider.name, "model": deal.provider.model, "code": error.code.value}
        if error.alarm:
            log.error("provider_alarm", **about, operator_message=error.operator_message)
            observe.report(error)
        else:
            log.warning("provider_failed", **about, operator_message=error.operator_message, retryable=error.retryable)

    async def _store(self, role: Role, attempt: int, media: Media) -> Stored:
        return await store(
            self._dependencies.db, self._claim, self._dependencies.storages.current, role, attempt, media
        )

    async def _read(self, asset: asset_rows.Asset) -> Media:
        try:
            data = await self._dependencies.storages.by_name[asset.storage].get(asset.key)
        except (StorageError, KeyError) as error:
            raise GenerationError(
                FailureCode.STORAGE_UNAVAILABLE, retryable=True, operator_message=str(error)
            ) from None
        return Media(data, asset.content_type, asset.width, asset.height)

    def _about(self, kind: Literal["order", "collect"], attempt: int) -> CallContext:
        return CallContext(self._claim.id, self._claim.operation, attempt, kind)

    def _key(self, role: Role, attempt: int) -> str:
        return f"{self._claim.id}:{role}:{attempt}"


def _jittered(seconds: float) -> float:
    return seconds * random.uniform(0.75, 1.25)  # noqa: S311  # jitter, no secret
