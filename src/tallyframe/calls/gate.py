"""Lets calls to vendors through, and writes each down. Circuit, slot and record move in one statement each way."""

import asyncio
import random
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
from tallyframe.errors import FailureCode, ProviderError, Unavailable
from tallyframe.ids import new_id
from tallyframe.providers.base import Provider, Usage
from tallyframe.redaction import hidden

log = structlog.get_logger()

#: Seconds that a call waits for a slot before it gives its worker back.
SLOT_WAIT = 5.0
SLOT_LOOK = 0.2  # seconds between looks
LEAVE_AGAIN = 1.0  # seconds between tries to write down a call while the database is away
#: Seconds beyond the timeout of a call after which its slot counts as left by a dead worker.
SLOT_GRACE = 60.0
#: Failures that say something of the vendor's health, and not of the order.
_ILL = frozenset({FailureCode.PROVIDER_UNAVAILABLE, FailureCode.PROVIDER_TIMEOUT, FailureCode.PROVIDER_QUOTA})


class CircuitOpen(Exception):
    """The provider's model has failed too often lately; nothing was asked. `seconds` until it may be tried.

    `is_being_tried`: one order is trying it right now, so it may close at any moment.
    """

    def __init__(self, seconds: float, *, is_being_tried: bool = False) -> None:
        super().__init__(f"open for {seconds:.1f} s")
        self.seconds = seconds
        self.is_being_tried = is_being_tried


class NoSlot(Exception):
    """As many calls are in flight at this provider as may be; nothing was asked."""


@dataclass(frozen=True, slots=True)
class CallLimits:
    """The limits in force. A provider that `in_flight` doesn't name has neither a limit nor a circuit.

    `timeout` is seconds per call.
    """

    in_flight: Mapping[str, int]
    timeout: float
    breaker_failures: int
    breaker_cooldown: float  # seconds
    retry_max_wait: float  # seconds
    prices: Prices


@dataclass(frozen=True, slots=True)
class CallContext:
    """What a call is for. `kind` is order, collect or cancel."""

    generation_id: UUID
    operation: str
    attempt: int
    kind: str


@dataclass(slots=True)
class Record:
    """A call under way. Set `status` to accepted or waiting where that's what came of it; `usage` is the adapter's."""

    id: UUID
    usage: Usage = field(default_factory=Usage)
    status: str = "succeeded"
    error: ProviderError | None = None
    probes: bool = False  # it is the one order that tries a circuit which was open
    started: float = field(default_factory=monotonic)


class Gate:
    """Through which all calls of this process go."""

    def __init__(self, db: Database, limits: CallLimits) -> None:
        self._db = db
        self._limits = limits
        self._prepared: set[str] = set()
        self._leaving: set[asyncio.Task[None]] = set()  # kept here, because the event loop itself would forget them

    @asynccontextmanager
    async def call(self, provider: Provider, about: CallContext) -> AsyncIterator[Record]:
        """Make the call inside of the block. Raises CircuitOpen or NoSlot before it, when it may not be made now."""
        record = Record(new_id())
        await self._enter(provider, about, record)
        try:
            yield record
        except ProviderError as error:
            record.status, record.error = "in_doubt" if error.in_doubt else "failed", error
            raise
        except BaseException:  # also a cancellation; whatever came of the call, nobody will hear it
            record.status = "abandoned"
            raise
        finally:
            await asyncio.shield(self._leave(provider, about, record))

    async def _enter(self, provider: Provider, about: CallContext, record: Record) -> None:
        await self._prepare(provider.name)
        until = monotonic() + SLOT_WAIT
        while True:
            row = await self._ask(provider, about, record)
            if row.entered:
                record.started, record.probes = monotonic(), row.probes
                return
            if row.open_for is not None:
                raise CircuitOpen(float(row.open_for), is_being_tried=row.open_for <= 0)
            if monotonic() > until:
                raise NoSlot
            await asyncio.sleep(SLOT_LOOK * random.uniform(0.75, 1.25))  # noqa: S311  # jitter, no secret

    async def _ask(self, provider: Provider, about: CallContext, record: Record) -> "sa.Row[*tuple[Any, ...]]":
        """Ask to be let through. Who is cancelled meanwhile leaves again, should the answer be yes."""
        asking = asyncio.ensure_future(self._db.run(statements.ENTER, self._entry(provider, about, record)))
        try:
            return (await asyncio.shield(asking)).one()
        except asyncio.CancelledError:
            await asyncio.wait({asking})
            record.status = "abandoned"
            if not asking.cancelled() and not asking.exception():
                record.probes = asking.result().one().probes
            await self._leave(provider, about, record)
            raise

    def _entry(self, provider: Provider, about: CallContext, record: Record) -> dict[str, Any]:
        hold = timedelta(seconds=longest_call(self._limits.timeout, about.kind))
        return {
            "id": record.id,
            "generation_id": about.generation_id,
            "operation": about.operation,
            "kind": about.kind,
            "attempt": about.attempt,
            "provider": provider.name,
            "model": provider.model,
            "most": None if about.kind == "cancel" else self._limits.in_flight.get(provider.name),
            "guarded": self._is_guarded(provider, about),
            "hold": hold,
        }

    def _is_guarded(self, provider: Provider, about: CallContext) -> bool:
        """Only orders open a circuit and are stopped by it: what is collected or canceled costs nothing more."""
        return about.kind == "order" and provider.name in self._limits.in_flight

    async def _prepare(self, provider: str) -> None:
        """Make the provider's slots, once per process."""
        most = self._limits.in_flight.get(provider)
        if most is None or provider in self._prepared:
            return
        await self._db.run(statements.MAKE_SLOTS, {"provider": provider, "most": most})
        self._prepared.add(provider)

    async def aclose(self) -> None:
        """Give up what could not be written down so far; before the database is closed."""
        for task in list(self._leaving):
            task.cancel()
        await asyncio.gather(*self._leaving, return_exceptions=True)

    async def failures(self, about: CallContext, code: FailureCode) -> int:
        """Return how many calls of this kind have failed so for this generation."""
        row = ai_operations.c
        same = (row.generation_id == about.generation_id) & (row.kind == about.kind) & (row.error_code == code.value)
        return int((await self._db.run(sa.select(sa.func.count()).where(same))).scalar_one())

    async def _leave(self, provider: Provider, about: CallContext, record: Record) -> None:
        """Write down what came of the call. The answer counts, and not its record: it waits for no database."""
        try:
            parameters = self._exit(provider, about, record)
            await self._db.run(statements.LEAVE, parameters)
        except Unavailable:
            task = asyncio.create_task(self._leave_later(parameters, longest_call(self._limits.timeout)))
            self._leaving.add(task)
            task.add_done_callback(self._leaving.discard)
        except (sa.exc.SQLAlchemyError, ArithmeticError) as error:
            log.warning("call_not_recorded", call_id=str(record.id), error=type(error).__name__)

    async def _leave_later(self, parameters: dict[str, Any], seconds: float) -> None:
        """Go on trying while the slot would be held without it."""
        until = monotonic() + seconds
        while monotonic() < until:
            await asyncio.sleep(LEAVE_AGAIN)
            with suppress(Unavailable):
                await self._db.run(statements.LEAVE, parameters)
                return
        log.warning("call_not_recorded", call_id=str(parameters["id"]), error="Unavailable")

    def _exit(self, provider: Provider, about: CallContext, record: Record) -> dict[str, Any]:
        error = record.error
        told = record.usage.sound()
        usage = told if _is_last_word(about, record) else Usage(request_id=told.request_id)
        pause = _pause(error, self._limits.retry_max_wait)
        cooldown = self._limits.breaker_cooldown * random.uniform(1.0, 1.25)  # noqa: S311  # jitter, no secret
        return {
            "id": record.id,
            "provider": provider.name,
            "model": provider.model,
            "status": record.status,
            "error_code": error.code.value if error else None,
            "error": hidden(error.operator_message)[:2000] if error and error.operator_message else None,
            "input_tokens": usage.input_tokens,
            "output_tokens": usage.output_tokens,
            "video_seconds": usage.seconds,
            "cost_micros": cost_micros(self._limits.prices.get(provider.model), usage),
            "duration_ms": round((monotonic() - record.started) * 1000),
            "vendor_request_id": hidden(usage.request_id) if usage.request_id else None,
            "guarded": self._is_guarded(provider, about),
            "generation_id": about.generation_id,
            "ill": error is not None and (error.alarm or error.in_doubt or error.code in _ILL),
            "answered": record.status != "abandoned",
            "probes": record.probes,
            "failures": self._limits.breaker_failures,
            "cooldown": timedelta(seconds=cooldown),
            "pause": timedelta(seconds=pause) if pause else None,
        }


def _is_last_word(about: CallContext, record: Record) -> bool:
    """Tell whether the figures of a call count: who is asked again about the same work tells them again."""
    asked_in_vain = about.kind == "collect" and record.error is not None and record.error.retryable
    return record.status not in {"accepted", "waiting"} and not asked_in_vain


def longest_call(timeout: float, kind: str = "collect") -> float:
    """Return the seconds after which a call's worker must be dead: a collect may look, and then download."""
    return (2 if kind == "collect" else 1) * timeout + SLOT_GRACE


def _pause(error: ProviderError | None, longest: float) -> float | None:
    """Return the seconds for which a vendor has asked everybody to stay away."""
    if error is None or error.code is not FailureCode.PROVIDER_QUOTA or error.retry_after is None:
        return None
    return min(error.retry_after, longest)
