"""What a run works with: pictures in, media out, each billable call a durable step. No transaction is ever open here.

How a step goes, by what the latest try left behind:

    nothing, failed, in doubt   intent → call the vendor → ticket? keep it and leave : store → done
    failed for good             the same verdict again
    ticket                      ask the vendor again; never buys again
    intent                      nobody knows: book the doubt; order again only where the provider allows it
    done                        the kept result
"""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal
from uuid import UUID

import structlog

from tallyframe.assets import rows as asset_rows
from tallyframe.db import Database
from tallyframe.errors import FailureCode, GenerationError, ProviderError
from tallyframe.generations import lease
from tallyframe.generations.lease import Claim
from tallyframe.generations.steps import ClaimLost, Step, Steps
from tallyframe.operations.base import Stored
from tallyframe.providers.base import Call, ImageOrder, Media, Provider, Providers, Ticket, VideoOrder
from tallyframe.storages.base import EXTENSIONS, StorageError, Storages

log = structlog.get_logger()

#: Seconds between tries to store a result whose bytes we already hold.
STORE_RETRIES = (0.5, 1.0, 2.0, 4.0, 8.0)
#: Seconds until a ticket is asked for again when asking failed; the ticket itself is not in question.
COLLECT_AGAIN = 5.0

IN_DOUBT = "We lost track of what the provider did with this. Your credits are back; you can order it again."


class Snoozed(Exception):
    """Not an error: the vendor isn't ready; leave, and be woken in `seconds`."""

    def __init__(self, seconds: float) -> None:
        super().__init__(f"wake in {seconds} s")
        self.seconds = seconds


@dataclass(frozen=True, slots=True)
class Deal:
    """One order bound to one provider: how to place it and how to collect it."""

    provider: Provider
    make: Callable[[Call], Awaitable[Media | Ticket]]
    collect: Callable[..., Awaitable[Media | Ticket]]  # (ticket, call=…)


class RunContext:
    """The operation's `Context` for one claimed generation."""

    def __init__(self, db: Database, claim: Claim, providers: Providers, storages: Storages) -> None:
        self._db = db
        self._claim = claim
        self._providers = providers
        self._storages = storages
        self._steps = Steps(db, claim)

    async def pictures(self, asset_ids: Sequence[UUID]) -> tuple[Media, ...]:
        """Return the bytes of the input pictures. Raises GenerationError when one is gone or can't be read."""
        found = await asset_rows.find(self._db, self._claim.user_id, asset_ids)
        if len(found) != len(set(asset_ids)):
            raise GenerationError(FailureCode.INVALID_INPUT, "A picture of this order has been deleted.")
        return tuple([await self._read(found[asset_id]) for asset_id in asset_ids])

    async def image(self, order: ImageOrder) -> Stored:
        """Have an image made and stored, once."""
        deals = [
            Deal(provider, partial(provider.make_image, order), partial(provider.collect_image, order=order))
            for provider in self._providers.image
        ]
        return await self._durably("image", deals)

    async def video(self, order: VideoOrder) -> Stored:
        """Have a video made and stored, once."""
        deals = [
            Deal(provider, partial(provider.make_video, order), partial(provider.collect_video, order=order))
            for provider in self._providers.video
        ]
        return await self._durably("video", deals)

    async def _durably(self, role: Literal["image", "video"], deals: Sequence[Deal]) -> Stored:
        step = await self._steps.latest(role)
        if step and step.state == "done" and step.result:
            return Stored(**step.result)
        if step and step.state == "ticket" and step.ticket:
            return await self._collect(role, step, step.ticket, _named(deals, step.provider))
        if step and step.is_final and step.error_code:  # said once, it stays so, even if settling it was cut short
            raise GenerationError(FailureCode(step.error_code), operator_message="as an earlier try has found")
        if step and step.state == "intent":
            repeatable = _named(deals, step.provider).provider.repeatable
            doubt = GenerationError(
                FailureCode.PROVIDER_TIMEOUT, IN_DOUBT, retryable=repeatable, operator_message="in doubt"
            )
            await self._steps.doubt(role, step.attempt, doubt)
            if not repeatable:
                raise doubt
        return await self._order(role, deals[0])

    async def _order(self, role: Literal["image", "video"], deal: Deal) -> Stored:
        attempt = self._claim.attempt
        await self._steps.intend(role, deal.provider)
        try:
            answer = await deal.make(self._call(role, attempt))
        except ProviderError as error:
            await self._steps.fail(role, attempt, error)
            raise
        if isinstance(answer, Ticket):
            await self._steps.keep_ticket(role, attempt, answer.value)
            raise Snoozed(answer.poll_after)
        try:
            return await self._store(role, attempt, answer)
        except GenerationError as error:
            # Its bytes are gone with this try, and ordering again would buy it twice: so this is the end.
            final = GenerationError(error.code, operator_message=error.operator_message)
            await self._steps.fail(role, attempt, final)
            raise final from None

    async def _collect(self, role: Literal["image", "video"], step: Step, ticket: str, deal: Deal) -> Stored:
        try:
            answer = await deal.collect(ticket, call=self._call(role, step.attempt))
        except ProviderError as error:
            if error.retryable:  # asking failed, and that is no verdict on what was ordered
                log.warning("collect_failed", code=error.code.value, operator_message=error.operator_message)
                raise Snoozed(COLLECT_AGAIN) from None
            await self._steps.fail(role, step.attempt, error)
            raise
        if isinstance(answer, Ticket):
            raise Snoozed(answer.poll_after)
        return await self._store(role, step.attempt, answer)

    async def _store(self, role: Literal["image", "video"], attempt: int, media: Media) -> Stored:
        if not await lease.show_storing(self._db, self._claim):
            raise ClaimLost
        key = f"generations/{self._claim.id}/{role}.{EXTENSIONS[media.content_type]}"
        await self._put(key, media)
        stored = Stored(
            role=role,
            storage=self._storages.current.name,
            key=key,
            content_type=media.content_type,
            bytes=len(media.data),
            sha256=hashlib.sha256(media.data).hexdigest(),
            width=media.width,
            height=media.height,
            duration_seconds=media.duration_seconds,
        )
        try:
            await self._steps.finish(role, attempt, stored)
        except ClaimLost:
            await self._steps.orphan(role, attempt, stored)
            log.warning("orphaned_result", role=role, key=key)
            raise
        return stored

    async def _put(self, key: str, media: Media) -> None:
        for pause in (*STORE_RETRIES, None):
            try:
                return await self._storages.current.put(key, media.data, media.content_type)
            except StorageError as error:
                log.warning("store_failed", key=key, error=str(error), retry_in_seconds=pause)
                if pause is None:
                    raise GenerationError(
                        FailureCode.STORAGE_UNAVAILABLE, retryable=True, operator_message=str(error)
                    ) from None
                await asyncio.sleep(pause)
        return None

    async def _read(self, asset: asset_rows.Asset) -> Media:
        try:
            data = await self._storages.by_name[asset.storage].get(asset.key)
        except (StorageError, KeyError) as error:
            raise GenerationError(
                FailureCode.STORAGE_UNAVAILABLE, retryable=True, operator_message=str(error)
            ) from None
        return Media(data, asset.content_type, asset.width, asset.height)

    def _call(self, role: str, attempt: int) -> Call:
        return Call(key=f"{self._claim.id}:{role}:{attempt}", attempt=attempt)


def _named(deals: Sequence[Deal], provider: str) -> Deal:
    for deal in deals:
        if deal.provider.name == provider:
            return deal
    raise GenerationError(
        FailureCode.PROVIDER_UNAVAILABLE, operator_message=f"{provider} holds a ticket but is no longer configured"
    )
