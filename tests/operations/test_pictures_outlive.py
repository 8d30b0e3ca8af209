"""A picture that an order names outlives what it came with, and goes with the last order that names it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from tests.audit.conftest import Audits
from tests.conftest import owner_of
from tests.operations.buying import buy, receipt
from tests.support.cast import Member
from tests.support.drawn import GREEN, picture
from tests.support.remains import World
from tests.support.scripted import QUICKLY, Scripted, among
from tests.support.working import Bench

IS_THERE = "SELECT EXISTS (SELECT FROM assets WHERE id = $1)"
COUNTS = "SELECT (SELECT count(*) FROM assets), (SELECT count(*) FROM erased_files), (SELECT count(*) FROM outbox)"


async def run(bench: Bench) -> None:
    await bench.drain(bench.runner(providers=among(Scripted("vendor")), retry=QUICKLY))


async def delete(member: Member, path: str) -> None:
    answer = await member.http.delete(path)
    assert answer.status_code == 204, answer.text


async def uploaded(alice: Member, bench: Bench) -> tuple[str, str]:
    """A project with a picture that came with it, and that picture."""
    project = await alice.http.post(
        "/v1/projects",
        data={"kind": "image", "prompt": "one"},
        files={"images": ("a.png", picture(GREEN), "image/png")},
    )
    await run(bench)
    return f"/v1/projects/{project.json()['id']}", project.json()["images"][0]["id"]


async def made_in_project(alice: Member, bench: Bench) -> tuple[str, str]:
    """A project, and the picture that was made for it."""
    project = await alice.order()
    await run(bench)
    made = await receipt(alice, project["generation"])
    return f"/v1/projects/{project['id']}", made["outputs"][0]["id"]


async def made_alone(alice: Member, bench: Bench) -> tuple[str, str]:
    """A generation without a project, and the picture that it has made."""
    made = await buy(alice, "image", prompt="one")
    await run(bench)
    return f"/v1/generations/{made['id']}", (await receipt(alice, made))["outputs"][0]["id"]


Source = Callable[[Member, Bench], Awaitable[tuple[str, str]]]


@pytest.fixture(params=[uploaded, made_in_project, made_alone])
async def source(request: Any, alice: Member, bench: Bench, world: World) -> tuple[str, str]:
    """The path of what a picture came with, and the picture's id."""
    come: Source = request.param
    return await come(alice, bench)


async def nothing_is_left(owner: Any, world: World, audits: Audits) -> None:
    assert world.files() == []
    assert tuple(await owner.fetchrow(COUNTS)) == (0, 0, 0)
    assert await audits.violated() == {}


async def test_it_goes_with_the_last_order_that_names_it(
    alice: Member, bench: Bench, owner: Any, world: World, audits: Audits, source: tuple[str, str]
) -> None:
    path, asset = source
    made = [await buy(alice, "image", prompt="two", images=[{"asset_id": asset}]) for _ in range(2)]
    await delete(alice, path)
    await run(bench)
    assert [(await receipt(alice, each))["status"] for each in made] == ["succeeded"] * 2
    await delete(alice, f"/v1/generations/{made[0]['id']}")
    assert await owner.fetchval(IS_THERE, asset)
    assert await audits.violated() == {}
    again = await buy(alice, "image", prompt="three", images=[{"asset_id": asset}])
    await run(bench)
    assert (await receipt(alice, again))["status"] == "succeeded"
    for each in (made[1], again):
        await delete(alice, f"/v1/generations/{each['id']}")
    await nothing_is_left(owner, world, audits)


async def test_it_goes_to_a_project_whose_order_names_it(
    alice: Member, bench: Bench, owner: Any, world: World, audits: Audits, source: tuple[str, str]
) -> None:
    path, asset = source
    project = await alice.order("another")
    await run(bench)
    made = await buy(alice, "image", project["id"], prompt="two", images=[{"asset_id": asset}])
    await delete(alice, path)
    await run(bench)
    assert (await receipt(alice, made))["status"] == "succeeded"
    answer = await alice.http.post(f"/v1/projects/{project['id']}/regenerate")
    assert answer.status_code == 202, answer.text
    await run(bench)
    assert (await receipt(alice, answer.json()["generation"]))["status"] == "succeeded"
    await delete(alice, f"/v1/projects/{project['id']}")
    await nothing_is_left(owner, world, audits)


async def test_it_goes_at_once_where_only_a_deleted_order_names_it(
    alice: Member, bench: Bench, owner: Any, world: World, audits: Audits, source: tuple[str, str]
) -> None:
    path, asset = source
    made = await buy(alice, "image", prompt="two", images=[{"asset_id": asset}])
    await run(bench)
    await delete(alice, f"/v1/generations/{made['id']}")
    assert await owner.fetchval(IS_THERE, asset)
    await delete(alice, path)
    await nothing_is_left(owner, world, audits)


async def test_who_inherits_it_is_deleted_only_after_that(
    alice: Member, bench: Bench, owner: Any, world: World, audits: Audits, source: tuple[str, str], database_url: str
) -> None:
    """The heir's deletion waits, and finds the picture. Here, the erasing is held up after it has chosen the heir."""
    path, asset = source
    made = await buy(alice, "image", prompt="two", images=[{"asset_id": asset}])
    await run(bench)
    held_up = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"
    async with owner_of(database_url) as another, another.transaction():
        await another.execute("LOCK TABLE erased_files IN EXCLUSIVE MODE")  # it comes after the heirs
        first = asyncio.create_task(delete(alice, path))
        async with asyncio.timeout(20):
            while await owner.fetchval(held_up) < 1:
                await asyncio.sleep(0.01)
        second = asyncio.create_task(delete(alice, f"/v1/generations/{made['id']}"))
        async with asyncio.timeout(20):
            while await owner.fetchval(held_up) < 2:
                await asyncio.sleep(0.01)
    await asyncio.gather(first, second)
    await nothing_is_left(owner, world, audits)
