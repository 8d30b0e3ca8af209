"""Reads that share a round trip: each finds its own user's rows, and nobody suffers from the others."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import API_ROLE, Database
from tallyframe.db.gathering import AT_ONCE, MOST
from tallyframe.db.pool import Pool
from tallyframe.errors import Unavailable
from tallyframe.generations import queries
from tallyframe.ids import new_id
from tests.conftest import acting_as
from tests.support.cast import Member


@pytest.fixture
async def api_db(settings: Any) -> AsyncIterator[Database]:
    async with acting_as(API_ROLE, settings) as database:
        yield database


@pytest.fixture
def trips(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many requests each round trip served."""
    counted, real = list[int](), Pool.call

    async def call(pool: Pool, statement: Any, **parameters: Any) -> Any:
        if "users" in parameters:
            counted.append(len(parameters["users"]))
        return await real(pool, statement, **parameters)

    monkeypatch.setattr(Pool, "call", call)
    return counted


async def find(db: Database, user_id: UUID, project_id: UUID) -> queries.Version | None:
    return await queries.project_version(db.as_user(user_id), user_id, project_id)


async def test_each_finds_its_own_in_few_trips(alice: Member, bob: Member, api_db: Database, trips: list[int]) -> None:
    hers, his = UUID((await alice.order())["id"]), UUID((await bob.order())["id"])
    trips.clear()
    asked = [(member.user.id, project) for member in (alice, bob) for project in (hers, his, new_id())] * 20
    found = await asyncio.gather(*(find(api_db, *each) for each in asked))
    own = {(alice.user.id, hers), (bob.user.id, his)}
    assert [version is not None for version in found] == [each in own for each in asked]
    assert sum(trips) == len(asked)
    assert len(trips) <= len(asked) / MOST + AT_ONCE + 1
    assert max(trips) <= MOST


async def test_nobody_finds_anothers_by_asking_as_if_it_were_theirs(
    alice: Member, bob: Member, api_db: Database, trips: list[int]
) -> None:
    """As somebody would ask who has got around our checks: row-level security alone says whose rows there are."""
    hers = UUID((await alice.order())["id"])
    trips.clear()
    wanted = {"user_id": alice.user.id, "project_id": hers}
    askers = [alice.user.id, bob.user.id, alice.user.id, new_id(), bob.user.id, alice.user.id]

    async def ask(asker: UUID) -> queries.Row | None:
        return await api_db.as_user(asker).find_with_others(queries.PROJECTS_BY_ID, **wanted)

    found = await asyncio.gather(*map(ask, askers))
    assert [row is not None for row in found] == [asker == alice.user.id for asker in askers]
    assert len(trips) < len(askers)


async def test_one_alone_waits_for_nobody(alice: Member, api_db: Database, trips: list[int]) -> None:
    project = UUID((await alice.order())["id"])
    trips.clear()
    for _ in range(3):
        assert await find(api_db, alice.user.id, project)
    assert trips == [1, 1, 1]


async def test_who_leaves_takes_nobody_along(alice: Member, api_db: Database, trips: list[int]) -> None:
    project = UUID((await alice.order())["id"])
    tasks = [asyncio.create_task(find(api_db, alice.user.id, project)) for _ in range(9)]
    await asyncio.sleep(0)
    for task in tasks[::2]:
        task.cancel()
    answers = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(each, asyncio.CancelledError) for each in answers] == [number % 2 == 0 for number in range(9)]
    assert all(each for each in answers[1::2])
    assert await find(api_db, alice.user.id, project)


async def test_a_failure_is_that_of_all_who_shared_it_and_of_nobody_else(
    alice: Member, api_db: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = UUID((await alice.order())["id"])
    with monkeypatch.context() as broken:

        async def call(*_: Any, **__: Any) -> Any:
            raise Unavailable

        broken.setattr(Pool, "call", call)
        answers = await asyncio.gather(
            *(find(api_db, alice.user.id, project) for _ in range(5)), return_exceptions=True
        )
        assert [type(each) for each in answers] == [Unavailable] * 5
    assert await find(api_db, alice.user.id, project)
