"""Calls at one vendor through the gate, as workers make them. Time passes in the database, and not in the test."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tallyframe.calls.gate import CallContext, Gate, Record, Refused
from tallyframe.db import Database
from tallyframe.errors import ProviderError
from tests.support.scripted import failing, limits

_CIRCUITS = """
    UPDATE provider_circuits SET open_until = open_until - $1::interval, probe_until = probe_until - $1::interval
    WHERE provider = $2"""
_SLOTS = "UPDATE provider_slots SET held_until = held_until - $1::interval WHERE provider = $2"
_CALLS = "UPDATE ai_operations SET created_at = created_at - $1::interval WHERE provider = $2"

#: What becomes of a call: it is answered, it fails, it waits for the event, or this happens during it.
Outcome = Exception | asyncio.Event | Callable[[Record], Awaitable[None]] | None


@dataclass(frozen=True)
class Vendor:
    """What the gate knows of a vendor."""

    name: str
    model: str


class TurnedAway(Exception):
    """The gate has refused a call of a test."""

    def __init__(self, refused: Refused) -> None:
        super().__init__(str(refused))
        self.refused = refused


@dataclass
class Desk:
    db: Database
    owner: Any
    generation_ids: list[UUID]
    provider: Vendor
    turn: int = 0
    gates: list[Gate] = field(default_factory=list)
    entered: list[UUID] = field(default_factory=list)  # the calls that were let through
    started: "list[asyncio.Task[Record]]" = field(default_factory=list)

    @property
    def generation_id(self) -> UUID:
        return self.generation_ids[0]

    def gate(self, db: Database | None = None, **more: Any) -> Gate:
        """The gate of one worker."""
        self.gates.append(Gate(db or self.db, limits(self.provider.name, **more)))
        return self.gates[-1]

    @asynccontextmanager
    async def calling(
        self, gate: Gate, kind: str = "order", *, provider: Vendor | None = None, turn: int = 0, attempt: int = 1
    ) -> AsyncIterator[Record]:
        """Be in a call during the block; `turn` says for which of the generations. Raises TurnedAway."""
        generation_id = self.generation_ids[turn % len(self.generation_ids)]
        vendor = provider or self.provider
        entered = await gate.enter(
            vendor.name, vendor.model, CallContext(generation_id, "image", "image", attempt, kind)
        )
        if isinstance(entered, Refused):
            raise TurnedAway(entered)
        async with gate.recording(entered) as record:
            self.entered.append(record.id)
            yield record

    async def call(self, gate: Gate, outcome: Outcome = None, **more: Any) -> Record:
        """Make a call, from its beginning to its end."""
        async with self.calling(gate, **more) as record:
            if isinstance(outcome, Exception):
                raise outcome
            if isinstance(outcome, asyncio.Event):
                await outcome.wait()
            elif outcome:
                await outcome(record)
        return record

    async def fail(self, gate: Gate, times: int = 1, error: ProviderError | None = None, **more: Any) -> None:
        """Make calls that fail, each for another generation: it may be that the vendor is ill, or what `error` says."""
        for _ in range(times):
            self.turn += 1
            with pytest.raises(ProviderError):
                await self.call(gate, error or failing(), **{"turn": self.turn, **more})

    async def turned_away(self, gate: Gate, **more: Any) -> Refused:
        """Check that a call is refused, and return what the gate said."""
        before = len(self.entered)
        with pytest.raises(TurnedAway) as stopped:
            await self.call(gate, **more)
        assert len(self.entered) == before
        return stopped.value.refused

    async def refused(self, gate: Gate, **more: Any) -> float:
        """Check that a call is stopped by the circuit; return for how many seconds it says that this will last."""
        refused = await self.turned_away(gate, **more)
        assert refused.open_for is not None
        return refused.open_for

    async def finds_no_slot(self, gate: Gate, **more: Any) -> None:
        """Check that a call is refused because no slot is free."""
        assert await self.turned_away(gate, **more) == Refused(open_for=None)

    async def start(self, gate: Gate, until: asyncio.Event, **more: Any) -> "asyncio.Task[Record]":
        """Start a call that lasts until the event, and wait until it has been let through."""
        before = len(self.entered)
        task = asyncio.create_task(self.call(gate, until, **more))
        self.started.append(task)
        await until_true(lambda: len(self.entered) > before or task.done())
        assert not task.done(), task
        return task

    async def end_all(self) -> None:
        """Cancel what a failed test has left waiting."""
        for task in self.started:
            task.cancel()
        await asyncio.gather(*self.started, return_exceptions=True)
        for gate in self.gates:
            await gate.aclose()

    async def later(self, seconds: float) -> None:
        """Let time pass for this provider."""
        for statement in (_CIRCUITS, _SLOTS, _CALLS):
            await self.owner.execute(statement, timedelta(seconds=seconds), self.provider.name)

    async def circuit(self) -> Any:
        return await self.owner.fetchrow("SELECT * FROM provider_circuits WHERE provider = $1", self.provider.name)

    async def held(self) -> int:
        """How many slots are taken."""
        query = "SELECT count(*) FROM provider_slots WHERE provider = $1 AND held_until > now()"
        return int(await self.owner.fetchval(query, self.provider.name))

    async def rows(self) -> list[Any]:
        """What the log says of calls at this provider, oldest first."""
        query = "SELECT * FROM ai_operations WHERE provider = $1 ORDER BY id"
        return list(await self.owner.fetch(query, self.provider.name))


async def until_true(condition: Callable[[], bool], seconds: float = 5) -> None:
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.005)
