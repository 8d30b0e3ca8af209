"""Files that reach a storage when their project has been deleted and erased: they go, too, whoever stored them."""

import asyncio
import time
from dataclasses import replace
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from tallyframe.generations.end.erase import recall
from tallyframe.generations.run.runner import Runner
from tallyframe.generations.tables import ERASE_PROJECT
from tallyframe.providers.base import Ticket
from tallyframe.storages.base import Storage, StorageError
from tallyframe.storages.local import LocalStorage
from tests.support.cast import Member
from tests.support.remains import World
from tests.support.scripted import QUICKLY, Scripted, among
from tests.support.working import Bench

LISTED = "SELECT count(*) FROM erased_files"
CALLS = "SELECT count(*) FROM outbox WHERE kind LIKE 'erase%'"


class Threaded:
    """A storage whose upload runs in a thread, which goes on when whoever waits for it is canceled."""

    def __init__(self, storage: Storage, seconds: float) -> None:
        self._storage, self._seconds = storage, seconds
        self.is_storing = asyncio.Event()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._storage, name)

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        self.is_storing.set()
        put, seconds = self._storage.put, self._seconds

        def upload() -> None:
            time.sleep(seconds)
            asyncio.run(put(key, data, content_type))

        await asyncio.to_thread(upload)


def runner_with(bench: Bench, storage: Any, **more: Any) -> Runner:
    storages = bench.runner().dependencies.storages
    runner = bench.runner(storages=replace(storages, current=storage), **more)
    return replace(runner, limits=replace(runner.limits, lease_seconds=300, heartbeat_seconds=60))


async def deleted(member: Member, project: dict[str, Any]) -> UUID:
    assert (await member.http.delete(f"/v1/projects/{project['id']}")).status_code == 204
    return UUID(project["id"])


async def until_called(owner: Any) -> None:
    async with asyncio.timeout(20):
        while not await owner.fetchval(f"{CALLS} AND due_at <= now()"):
            await asyncio.sleep(0.02)


async def test_an_upload_that_goes_on_after_a_cancel_is_erased(
    alice: Member, bench: Bench, owner: Any, world: World
) -> None:
    project = await alice.order()
    slow = Threaded(bench.runner().dependencies.storages.current, 1.0)
    runner = runner_with(bench, slow)
    run = asyncio.create_task(runner.run((await bench.due())[0]))
    await slow.is_storing.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await alice.http.post(f"/v1/projects/{project['id']}/cancel")
    project_id = await deleted(alice, project)
    await until_called(owner)  # the upload has ended, and nobody owns what it has brought
    assert len(world.files()) == 1
    await bench.handle(ERASE_PROJECT, project_id)
    assert (world.files(), await owner.fetchval(LISTED), await owner.fetchval(CALLS)) == ([], 0, 0)


async def test_an_upload_of_a_worker_that_has_gone_is_erased(
    alice: Member, bench: Bench, owner: Any, world: World
) -> None:
    """Its process ends while the file is on its way. Nobody will say that it has arrived."""
    project = await alice.order()
    storage = bench.runner().dependencies.storages.current
    slow = Threaded(storage, 0.5)
    runner = runner_with(bench, slow)
    run = asyncio.create_task(runner.run((await bench.due())[0]))
    await slow.is_storing.wait()
    run.cancel()
    await asyncio.gather(run, return_exceptions=True)
    await runner.dependencies.detached.aclose(0)
    await alice.http.post(f"/v1/projects/{project['id']}/cancel")
    project_id = await deleted(alice, project)
    async with asyncio.timeout(20):
        while not world.files() or world.files()[0].endswith(".part"):
            await asyncio.sleep(0.02)
    assert await owner.fetchval(CALLS) == 1
    await owner.execute("UPDATE generations SET finished_at = finished_at - interval '1 hour'")
    await bench.handle(ERASE_PROJECT, project_id)
    assert (world.files(), await owner.fetchval(LISTED), await owner.fetchval(CALLS)) == ([], 0, 0)


async def test_of_two_who_collect_one_ticket_the_late_one_leaves_nothing(
    alice: Member, bench: Bench, owner: Any, world: World
) -> None:
    """The first loses its lease while it stores; the second delivers; the project goes before the first is done."""
    vendor = Scripted("a", make=[Ticket("t-1", 0.0)])
    project = await alice.order(kind="video")
    [generation_id] = await bench.due()
    slow = Threaded(bench.runner().dependencies.storages.current, 1.0)
    first = runner_with(bench, slow, providers=among(vendor), retry=QUICKLY)
    assert await first.run(generation_id) == "snoozed"
    late = asyncio.create_task(first.run(generation_id))
    await slow.is_storing.wait()
    await owner.execute("UPDATE generations SET lease_until = now() - interval '1 s'")
    second = bench.runner(providers=among(vendor), retry=QUICKLY)
    assert await second.run(generation_id) == "succeeded"
    project_id = await deleted(alice, project)
    assert world.files() == []
    assert await late == "claim_lost"
    assert len(world.files()) == 1
    await bench.handle(ERASE_PROJECT, project_id)
    assert world.files() == []


class Away(LocalStorage):
    """A storage that can't be reached."""

    name = "far"

    async def delete(self, key: str) -> None:
        raise StorageError("away")


async def with_two_storages(alice: Member, bench: Bench, owner: Any, world: World) -> tuple[UUID, dict[str, Storage]]:
    """A deleted project, not erased, with a file in each of two storages, of which one is away."""
    project = await alice.order()
    storage = bench.runner().dependencies.storages.current
    far = Away(Path(str(world.settings.server.data_dir)) / "far", "http://far")
    await bench.drain(runner_with(bench, far))
    assert (await alice.http.post(f"/v1/projects/{project['id']}/regenerate")).status_code == 202
    await bench.drain()
    await owner.execute("UPDATE projects SET deleted_at = now(), is_published = false")
    await owner.execute("INSERT INTO outbox VALUES ('erase_project', $1)", project["id"])
    return UUID(project["id"]), {"far": far, storage.name: storage}


async def erased(bench: Bench, storages: dict[str, Storage], project_id: UUID) -> None:
    parts = replace(bench.runner().dependencies.storages, by_name=storages)
    await bench.handle(ERASE_PROJECT, project_id, bench.runner(storages=parts))


async def test_one_storage_that_is_away_holds_up_no_other_and_piles_nothing_up(
    alice: Member, bench: Bench, owner: Any, world: World
) -> None:
    project_id, storages = await with_two_storages(alice, bench, owner, world)
    await erased(bench, storages, project_id)
    assert world.files() == []
    listed = await owner.fetchval(LISTED)
    for _ in range(3):
        await erased(bench, storages, project_id)
    assert await owner.fetchval(LISTED) == listed > 0
    assert await owner.fetchval(CALLS) == 1


async def test_a_storage_that_is_not_set_up_any_more_holds_up_nothing_and_is_tidied_when_it_is(
    alice: Member, bench: Bench, owner: Any, world: World
) -> None:
    project_id, storages = await with_two_storages(alice, bench, owner, world)
    far = LocalStorage(storages["far"]._folder.root, "http://far")  # type: ignore[attr-defined]  # of ours
    here = {name: each for name, each in storages.items() if name != "far"}
    await erased(bench, here, project_id)
    assert (world.files(), await owner.fetchval(CALLS)) == ([], 0)
    assert await owner.fetchval(LISTED) == 1
    assert await recall(bench.db, list(here)) == 0
    assert await recall(bench.db, ["far"]) == 1
    await erased(bench, {**here, "far": far}, project_id)
    assert (await owner.fetchval(LISTED), await owner.fetchval(CALLS)) == (0, 0)
    assert [page async for page in far.listed("generations")] == []
    assert await recall(bench.db, ["far"]) == 0


@pytest.mark.parametrize("times", [5])
async def test_a_ring_lists_nothing_twice(alice: Member, bench: Bench, owner: Any, world: World, times: int) -> None:
    project = await alice.order("[fail:internal]")
    await bench.drain()
    await owner.execute("UPDATE generation_steps SET fences = '{1,2}', result = NULL")
    far = Away(Path(str(world.settings.server.data_dir)) / "far", "http://far")
    await alice.http.delete(f"/v1/projects/{project['id']}")
    await owner.execute("INSERT INTO outbox VALUES ('erase_project', $1) ON CONFLICT DO NOTHING", project["id"])
    for _ in range(times):
        await erased(bench, {"far": far}, UUID(project["id"]))
    assert await owner.fetchval(LISTED) == 2 * 4  # two fences, four endings
