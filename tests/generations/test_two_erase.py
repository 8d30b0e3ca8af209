"""Several erase the same project at once: its call stays until nothing of it is left."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import API_ROLE
from tallyframe.generations.end import erase
from tallyframe.generations.end.erase import Subject
from tallyframe.generations.tables import ERASE_PROJECT
from tallyframe.storages.base import Storage, StorageError
from tests.conftest import acting_as
from tests.support.cast import Member
from tests.support.remains import World
from tests.support.working import Bench

CALLS = "SELECT count(*) FROM outbox"


@pytest.fixture
async def deleted(alice: Member, bench: Bench) -> Subject:
    """A project with an image, deleted, and not erased yet."""
    project_id = UUID((await alice.order())["id"])
    assert await bench.drain() == ["succeeded"]
    async with acting_as(API_ROLE, bench.settings) as api:
        assert await erase.delete(api.as_user(alice.user.id), alice.user.id, project_id)
    return Subject(project_id, ERASE_PROJECT)


class Slow:
    """A storage that does something before it deletes the first file."""

    def __init__(self, storage: Storage, before: Callable[[], Awaitable[object]]) -> None:
        self._storage = storage
        self._before: Callable[[], Awaitable[object]] | None = before

    async def delete(self, key: str) -> None:
        before, self._before = self._before, None
        if before:
            await before()
        await self._storage.delete(key)


async def slowly(bench: Bench, subject: Subject, before: Callable[[], Awaitable[object]]) -> None:
    """Erase; while that is under way, do something else."""
    storage = bench.runner().dependencies.storages.current
    await erase.erase(bench.db, {storage.name: Slow(storage, before)}, subject)  # type: ignore[dict-item]  # all that is used


async def test_who_ends_first_leaves_the_call_to_who_began_last(
    bench: Bench, deleted: Subject, owner: Any, world: World
) -> None:
    first_has_ended, second_has_begun = asyncio.Event(), asyncio.Event()

    async def fail() -> None:
        second_has_begun.set()
        await first_has_ended.wait()
        raise StorageError("away")

    seconds: list[asyncio.Task[None]] = []

    async def start_second() -> None:
        seconds.append(asyncio.create_task(slowly(bench, deleted, fail)))
        await second_has_begun.wait()

    await slowly(bench, deleted, start_second)
    first_has_ended.set()
    with pytest.raises(StorageError):
        await seconds[0]
    assert await owner.fetchval(CALLS) == 1
    await bench.handle(ERASE_PROJECT, deleted.id)
    assert await owner.fetchval(CALLS) == 0
    assert (world.files(), await owner.fetchval("SELECT count(*) FROM erased_files")) == ([], 0)


async def test_a_call_that_comes_meanwhile_is_not_completed(bench: Bench, deleted: Subject, owner: Any) -> None:
    async def call_again() -> None:
        await owner.execute("INSERT INTO outbox (kind, ref) VALUES ('erase_project', $1)", deleted.id)  # as 0010 does

    await slowly(bench, deleted, call_again)
    assert await owner.fetchval(CALLS) == 1
    await bench.handle(ERASE_PROJECT, deleted.id)
    assert await owner.fetchval(CALLS) == 0


async def test_who_comes_when_all_is_removed_lists_nothing_that_nobody_would_remove(
    bench: Bench, deleted: Subject, owner: Any
) -> None:
    async def fail() -> None:
        raise StorageError("away")

    await bench.handle(ERASE_PROJECT, deleted.id)
    await slowly(bench, deleted, fail)
    assert await owner.fetchval("SELECT count(*) FROM erased_files") == 0


async def test_ringing_meanwhile_changes_nothing(bench: Bench, deleted: Subject, owner: Any) -> None:
    await slowly(bench, deleted, lambda: owner.execute("UPDATE outbox SET rings = rings + 1, due_at = now()"))
    assert await owner.fetchval(CALLS) == 0


@pytest.mark.parametrize("state", ["intent", "ticket", "failed", "in_doubt", "orphaned", "withdrawn"])
async def test_what_a_worker_of_the_version_before_may_have_stored_goes_whatever_became_of_its_try(
    bench: Bench, deleted: Subject, owner: Any, world: World, state: str
) -> None:
    generation = await owner.fetchval("SELECT id FROM generations")
    await owner.execute(
        """INSERT INTO generation_steps (generation_id, name, attempt, state, provider, model, ticket)
           VALUES ($1, 'image', 7, $2, 'offline', 'a model', 'a ticket')""",
        generation,
        state,
    )
    key = f"generations/{generation}/image-7.png"
    await bench.runner().dependencies.storages.current.put(key, b"late", "image/png")
    await bench.handle(ERASE_PROJECT, deleted.id)
    assert world.files() == []
