"""Calls at one vendor through the gate, as workers make them. Time passes in the database, and not in the test."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from tallyframe.calls.gate import CallContext, CircuitOpen, Gate, Record
from tallyframe.db import Database
from tallyframe.errors import ProviderError
from tests.support.scripted import Scripted, failing, limits

_CIRCUITS = """
    UPDATE provider_circuits SET open_until = open_until - $1::interval, probe_until = probe_until - $1::interval
    WHERE provider = $2"""
_SLOTS = "UPDATE provider_slots SET held_until = held_until - $1::interval WHERE provider = $2"
_CALLS = "UPDATE ai_operations SET created_at = created_at - $1::interval WHERE provider = $2"

#: What becomes of a call: it is answered, it fails, it waits for the event, or this happens during it.
Outcome = Exception | asyncio.Event | Callable[[Record], Awaitable[None]] | None


@dataclass
class Desk:
    db: Database
    owner: Any
    generation_ids: list[UUID]
    provider: Scripted
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

    def about(self, kind: str = "order", attempt: int = 1, turn: int = 0) -> CallContext:
        """What a call is for; `turn` says for which of the generations."""
        return CallContext(self.generation_ids[turn % len(self.generation_ids)], "image", attempt, kind)

    async def call(
        self,
        gate: Gate,
        outcome: Outcome = None,
        *,
        kind: str = "order",
        provider: Scripted | None = None,
        turn: int = 0,
    ) -> Record:
        """Make a call, from its beginning to its end."""
        async with gate.call(provider or self.provider, self.about(kind, turn=turn)) as record:
            self.entered.append(record.id)
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

    async def refused(self, gate: Gate, **more: Any) -> float:
        """Check that a call is stopped by the circuit; return for how many seconds it says that this will last."""
        before = len(self.entered)
        with pytest.raises(CircuitOpen) as stopped:
            await self.call(gate, **more)
        assert len(self.entered) == before
        return stopped.value.seconds

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
