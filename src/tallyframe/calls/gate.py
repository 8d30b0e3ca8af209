"""Lets calls to vendors through, and writes each down. Circuit, slot and record move in one statement each way."""

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from time import monotonic
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog

from tallyframe.calls import statements
from tallyframe.calls.cost import Prices, cost_micros
from tallyframe.calls.tables import ai_operations
from tallyframe.db import Database
from tallyframe.errors import FailureCode, GenerationError, ProviderError, Unavailable
from tallyframe.ids import new_id
from tallyframe.jitter import jittered
from tallyframe.lost import REFUSED, UNFIT
from tallyframe.providers.base import Usage
from tallyframe.redaction import hidden

log = structlog.get_logger()

SLOT_WAIT = 5.0  # seconds that a call waits for a slot; then its worker does something else
SLOT_LOOK = 0.2  # seconds between two looks for a free slot
LEAVE_AGAIN = 1.0  # seconds between tries to write down a call while the database is away
SLOT_GRACE = 60.0  # seconds beyond the timeout of a call after which its worker counts as dead, and its slot as free
#: Failures that count against the vendor's health. All others are about the order.
_ILL = frozenset({FailureCode.PROVIDER_UNAVAILABLE, FailureCode.PROVIDER_TIMEOUT, FailureCode.PROVIDER_QUOTA})


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits in force. A provider that `in_flight` doesn't name has neither a limit nor a circuit."""

    in_flight: Mapping[str, int]  # calls at once, by provider
    timeout: float  # seconds per call
    breaker_failures: int
    breaker_cooldown: float  # seconds
    retry_max_wait: float  # seconds
    prices: Prices


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a call is for. `kind` is order, collect or cancel."""

    generation_id: UUID
    operation: str
    step: str
    attempt: int
    kind: str


@dataclass(frozen=True, slots=True)
class Refused:
    """The call may not be made now: its provider was not asked, and no slot is held.

    `open_for`: seconds until the circuit of the model lets one order through; None if there was just no free slot.
    `is_being_tried`: one order is trying the model right now, so the circuit may close at any moment.
    """

    open_for: float | None
    is_being_tried: bool = False


@dataclass(slots=True)
class Record:
    """A call under way. The caller sets `status` to accepted or waiting where it applies; the adapter fills `usage`."""

    id: UUID
    provider: str
    model: str
    context: CallContext
    usage: Usage = field(default_factory=Usage)
    status: str = "succeeded"
    error: GenerationError | None = None  # the vendor's, or why it was not asked
    probes: bool = False  # it is the one order that tries a circuit which was open
    started: float = field(default_factory=monotonic)

    @property
    def usage_is_final(self) -> bool:
        """Whether the usage counts. If we ask again about the same work, that answer reports it again."""
        is_asked_again = self.context.kind == "collect" and self.error is not None and self.error.retryable
        return self.status not in {"accepted", "waiting"} and not is_asked_again


class Gate:
    """All calls of this process to vendors go through it."""

    def __init__(self, db: Database, limits: CallLimits) -> None:
        self._db = db
        self._limits = limits
        self._prepared: set[str] = set()  # providers that have their slots
        self._leaving: set[asyncio.Task[None]] = set()  # kept here, because the event loop itself would forget them

    async def enter(self, provider: str, model: str, context: CallContext) -> Record | Refused:
        """Take a slot and record the call as running, or return why it may not be made now.

        Waits SLOT_WAIT seconds for a slot at most. Raises Unavailable when the database is away. Go on with `recording`
        at once: if anything is awaited in between and cancelled, the slot is held until it runs out.
        """
        most = self._limits.in_flight.get(provider)
        if most is not None and provider not in self._prepared:
            await self._db.run(statements.MAKE_SLOTS, {"provider": provider, "most": most})
            self._prepared.add(provider)
        record = Record(new_id(), provider, model, context)
        until = monotonic() + SLOT_WAIT
        while True:
            row = await self._ask(record)
            if row.entered:
                record.started, record.probes = monotonic(), row.probes
                return record
            if row.open_for is not None:
                return Refused(float(row.open_for), is_being_tried=row.open_for <= 0)
            if monotonic() > until:
                return Refused(open_for=None)
            await asyncio.sleep(jittered(SLOT_LOOK, 0.75, 1.25))

    @asynccontextmanager
    async def recording(self, record: Record) -> AsyncIterator[Record]:
        """Make the call inside of the block: when it ends, its result is written down and its slot is free again."""
        try:
            yield record
        except ProviderError as error:
            record.status, record.error = "in_doubt" if error.in_doubt else "failed", error
            raise
        except BaseException as error:  # also a cancellation: the call may still succeed, but its answer is not awaited
            record.status = "abandoned"
            record.error = error if isinstance(error, GenerationError) else None  # an input could not be read
            raise
        finally:
            await asyncio.shield(self._leave(record))

    async def calls(self, context: CallContext, failed: FailureCode | None = None) -> int:
        """Return how many calls of this kind there have been for this try of the step; or only those that failed so."""
        row = ai_operations.c
        mine = sa.and_(row.generation_id == context.generation_id, row.kind == context.kind)
        this = (row.step == context.step) & (row.attempt == context.attempt)
        such = row.error_code == failed.value if failed else sa.true()
        query = sa.select(sa.func.count()).where(mine, this, such)
        return int((await self._db.run(query)).scalar_one())

    async def aclose(self) -> None:
        """Give up what could not be written down so far; call it before the database is closed."""
        for task in list(self._leaving):
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def _ask(self, record: Record) -> statements.Entered:
        """Run ENTER. If we are cancelled meanwhile, wait for the answer and leave again should it be yes."""
        context = record.context
        most = None if context.kind == "cancel" else self._limits.in_flight.get(record.provider)
        parameters = {
            "id": record.id,
            "generation_id": context.generation_id,
            "operation": context.operation,
            "step": context.step,
            "kind": context.kind,
            "attempt": context.attempt,
            "provider": record.provider,
            "model": record.model,
            "most": most,
            "guarded": self._is_guarded(record),
            "hold": timedelta(seconds=longest_call(self._limits.timeout, context.kind)),
        }
        asking = asyncio.ensure_future(self._db.call(statements.ENTER, **parameters))
        try:
            return (await asyncio.shield(asking))[0]
        except asyncio.CancelledError:
            leaving = asyncio.create_task(self._leave_entered(asking, record))
            self._leaving.add(leaving)
            leaving.add_done_callback(self._leaving.discard)
            await asyncio.shield(leaving)  # who cancels once more doesn't wait, and the slot is left all the same
            raise

    async def _leave_entered(self, asking: "asyncio.Future[Any]", record: Record) -> None:
        """Leave again, once it is known what came of the statement by which a call that isn't made has entered."""
        try:
            await asyncio.wait({asking})
        finally:
            asking.cancel()
        record.status = "abandoned"
        if not asking.cancelled() and not asking.exception():
            record.probes = asking.result()[0].probes
        await self._leave(record)

    def _is_guarded(self, record: Record) -> bool:
        """Tell whether a circuit applies. Orders only: whoever collects or cancels spends nothing more."""
        return record.context.kind == "order" and record.provider in self._limits.in_flight

    async def _leave(self, record: Record) -> None:
        """Run LEAVE. While the database is away, go on trying in the background: the answer must not wait for it."""
        try:
            parameters = self._outcome(record)
            await self._db.call(statements.LEAVE, **parameters)
        except Unavailable:
            task = asyncio.create_task(self._leave_later(parameters))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        except (*REFUSED, *UNFIT) as error:
            log.warning("call_not_recorded", call_id=str(record.id), error=type(error).__name__)

    async def _leave_later(self, parameters: dict[str, Any]) -> None:
        """Try LEAVE again and again, until the slot has run out by itself."""
        until = monotonic() + longest_call(self._limits.timeout)
        while monotonic() < until:
            await asyncio.sleep(LEAVE_AGAIN)
            with suppress(Unavailable):
                await self._db.call(statements.LEAVE, **parameters)
                return
        log.warning("call_not_recorded", call_id=str(parameters["id"]), error="Unavailable")

    def _outcome(self, record: Record) -> dict[str, Any]:
        """Return the parameters of LEAVE."""
        error, limits = record.error, self._limits
        usage = _sound(record.usage)
        if not record.usage_is_final:
            usage = Usage(request_id=usage.request_id)
        said = error if isinstance(error, ProviderError) else None
        is_ill = said is not None and (said.alarm or said.in_doubt or said.code in _ILL)
        pause = None  # for which the vendor has asked us to send nothing
        if said and said.code is FailureCode.PROVIDER_QUOTA and said.retry_after:
            pause = timedelta(seconds=min(said.retry_after, limits.retry_max_wait))
        price = limits.prices.get(record.model)
        cooldown = jittered(limits.breaker_cooldown, 1.0, 1.25) if is_ill else limits.breaker_cooldown
        return {
            "id": record.id,
            "generation_id": record.context.generation_id,
            "provider": record.provider,
            "model": record.model,
            "status": record.status,
            "error_code": error.code.value if error else None,
            "error": error.operator_message or None if error else None,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "video_seconds": usage.seconds,
            "cost_micros": cost_micros(price, usage) if price else None,
            "duration_ms": round((monotonic() - record.started) * 1000),
            "vendor_request_id": hidden(usage.request_id) if usage.request_id else None,
            "guarded": self._is_guarded(record),
            "ill": is_ill,
            "answered": record.status != "abandoned",
            "probes": record.probes,
            "failures": limits.breaker_failures,
            "cooldown": timedelta(seconds=cooldown),
            "pause": pause,
        }


_MOST_TOKENS = 10**12
_MOST_SECONDS = 86_400.0


def _sound(usage: Usage) -> Usage:
    """Return what can be believed and kept of it: a vendor may say anything."""
    return Usage(
        input_tokens=usage.input_tokens if 0 <= (usage.input_tokens or 0) <= _MOST_TOKENS else None,
        output_tokens=usage.output_tokens if 0 <= (usage.output_tokens or 0) <= _MOST_TOKENS else None,
        seconds=usage.seconds if 0 <= (usage.seconds or 0) <= _MOST_SECONDS else None,
        request_id=usage.request_id[:200] if usage.request_id and usage.request_id.isprintable() else None,
    )


def longest_call(timeout: float, kind: str = "collect") -> float:
    """Return the seconds after which a call's worker must be dead. A collect may ask and then download."""
    return (2 if kind == "collect" else 1) * timeout + SLOT_GRACE
