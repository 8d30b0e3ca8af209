"""Runs generations in the test's own process, without arq, so that each move can be looked at."""

import asyncio
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe import lanes
from tallyframe.db import Database
from tallyframe.generations.run.dispatch import Dispatcher
from tallyframe.generations.run.runner import Runner
from tallyframe.outbox.tables import RUN_GENERATION, outbox
from tallyframe.providers.base import Provider
from tallyframe.settings import Settings
from tallyframe.worker import build_runner
from tests.support.scripted import among


@dataclass
class Bench:
    settings: Settings
    db: Database
    made: list[Runner] = field(default_factory=list)

    def runner(self, **parts: Any) -> Runner:
        """A runner; `parts` of its means replace what the settings would give."""
        runner = build_runner(self.settings, self.db)
        self.made.append(replace(runner, dependencies=replace(runner.dependencies, **parts)))
        return self.made[-1]

    async def end_all(self) -> None:
        """Give up what is still under way."""
        for runner in self.made:
            await runner.dependencies.detached.aclose(0)
            await runner.dependencies.gate.aclose()

    def with_provider(self, provider: Provider) -> Runner:
        return self.runner(providers=among(provider))

    async def handle(self, kind: str, ref: UUID, runner: Runner | None = None) -> None:
        """Do what a worker does for an outbox row."""
        await lanes.run(self.tools(runner or self.runner()), kind, ref)

    def tools(self, runner: Runner, dispatcher: Dispatcher | None = None) -> lanes.Tools:
        """What handlers work with. It is no use for webhooks, which a worker applies as another role."""
        return lanes.Tools(runner, dispatcher or Dispatcher(runner, slots=1, most=1), self.db)

    async def due(self) -> list[UUID]:
        """What the outbox would ring for, now or later."""
        query = sa.select(outbox.c.ref).where(outbox.c.kind == RUN_GENERATION).order_by(outbox.c.serial)
        return list((await self.db.run(query)).scalars())

    async def drain(self, runner: Runner | None = None, *, seconds: float = 60) -> list[str]:
        """Run what is to be run until nothing is, waiting for what sleeps; return all outcomes."""
        runner, outcomes, until = runner or self.runner(), [], monotonic() + seconds
        while waiting := await self.due():
            assert monotonic() < until, f"still not done: {waiting}"
            new = [await runner.run(generation_id) for generation_id in waiting]
            outcomes += [outcome for outcome in new if outcome != "not_taken"]
            if all(outcome == "not_taken" for outcome in new):
                await asyncio.sleep(0.05)
        return outcomes
