"""An auditor to be called at will, and a small world in which all is well."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

import pytest

from tallyframe.audit.base import Finding, Invariant, Limits, View
from tallyframe.audit.invariants import INVARIANTS
from tallyframe.audit.run import Auditor
from tallyframe.db import WORKER_ROLE, Database
from tallyframe.settings import Settings
from tallyframe.storages.base import Storages
from tallyframe.storages.registry import build_storages
from tests.conftest import acting_as
from tests.support.cast import Member
from tests.support.quick import Quick
from tests.support.scripted import Scripted, among, final
from tests.support.working import Bench


def limits(**more: Any) -> Limits:
    """Everything is due at once, and the second look comes soon."""
    usual = {"interval": 0.0, "files": 100, "lease_seconds": 3.0, "removes_uploads": False, "patience": 0.2}
    return Limits(**{**usual, **more})


@dataclass
class Audits:
    """Checks what it is asked to check, and all that there is."""

    db: Database
    storages: Storages
    limits: Limits = field(default_factory=limits)

    def auditor(self, *invariants: Invariant, **more: Any) -> Auditor:
        return Auditor(self.db, self.storages, limits(**more), invariants or INVARIANTS)

    async def check(self, invariant: Invariant, last: Finding | None = None, **more: Any) -> Finding:
        async with self.db.reading() as reader:
            return await invariant.check(View(reader, self.storages, limits(**more) if more else self.limits, last))

    async def violated(self) -> dict[str, Finding]:
        """Check everything; return what has found something."""
        found = {each.name: await self.check(each) for each in INVARIANTS}
        return {name: finding for name, finding in found.items() if finding.violations}


@pytest.fixture
async def storages(settings: Settings) -> AsyncIterator[Storages]:
    built = build_storages(settings)
    yield built
    for storage in built.by_name.values():
        await storage.aclose()


@pytest.fixture
async def audits(settings: Settings, storages: Storages) -> AsyncIterator[Audits]:
    """As a worker sees the database, past any pooler."""
    async with acting_as(WORKER_ROLE, settings, goes_past_pooler=True) as db:
        yield Audits(db, storages)


@dataclass(frozen=True)
class World:
    """One generation of each kind, by its id, and their projects."""

    generations: dict[str, UUID]
    projects: dict[str, UUID]

    @property
    def names(self) -> dict[str, UUID]:
        """The ids by "done", "done_project" and so on."""
        return {**self.generations, **{f"{name}_project": id_ for name, id_ in self.projects.items()}}


@pytest.fixture
async def world(rich: Member, bench: Bench, owner: Any) -> World:
    """Somebody's orders: done, failed, canceled, waiting for a ticket, and not taken up yet."""
    made = {"done": await rich.order("a cup")}
    await bench.drain(bench.with_provider(Quick()))
    made["failed"] = await rich.order("a bad cup")
    await bench.drain(bench.runner(providers=among(Scripted("strict", make=[final()]))))
    made["canceled"] = await rich.order("no cup")
    assert (await rich.http.post(f"/v1/projects/{made['canceled']['id']}/cancel")).status_code == 200
    made["waiting"] = await rich.order("[delay:600] a cup", kind="video")
    [waiting] = await bench.due()
    assert await bench.runner().run(waiting) == "snoozed"
    made["pending"] = await rich.order("another cup")
    generations = {name: UUID(project["generation"]["id"]) for name, project in made.items()}
    return World(generations, {name: UUID(project["id"]) for name, project in made.items()})


def subjects(finding: Finding) -> Sequence[str]:
    return [example.subject for example in finding.examples]
