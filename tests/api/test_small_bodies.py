"""Calls that take nothing refuse what they would not heed; calls that take only options may get nothing."""

import pytest

from tests.support.cast import Member
from tests.support.remains import World
from tests.support.working import Bench


@pytest.mark.parametrize("action", ["regenerate", "cancel", "publish", "unpublish"])
async def test_a_call_without_fields_refuses_fields(alice: Member, bench: Bench, world: World, action: str) -> None:
    project = await alice.order()
    if action != "cancel":
        await bench.drain()
    before = await world.remains()
    for body in ('{"foo": 1}', '{"broken', "[1]", "null", "[" * 30_000):
        answer = await alice.http.post(f"/v1/projects/{project['id']}/{action}", content=body)
        assert (answer.status_code, answer.json()["code"]) == (422, "validation_failed"), body[:20]
    assert await world.remains() == before
    answer = await alice.http.post(f"/v1/projects/{project['id']}/{action}", json={})
    assert answer.status_code in {200, 202}


async def test_options_may_be_left_out(alice: Member, bench: Bench) -> None:
    project = await alice.order()
    await bench.drain()
    assert (await alice.http.post(f"/v1/projects/{project['id']}/video")).status_code == 202
    assert (await alice.http.post("/v1/api-keys")).status_code == 201


async def test_a_video_is_no_picture(alice: Member, bench: Bench, world: World) -> None:
    project = await alice.order(kind="video", duration_seconds=1)
    await bench.drain()
    [video] = (await alice.project(project["id"]))["generation"]["outputs"]
    before = await world.remains()
    order = {"kind": "image", "prompt": "a cup", "images": [{"asset_id": video["id"]}]}
    answer = await alice.http.post("/v1/projects", json=order)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/images/0/asset_id")
    assert await world.remains() == before


async def test_a_pointer_into_a_picture_names_no_model(alice: Member) -> None:
    order = {"kind": "image", "prompt": "a cup", "images": [{"url": ""}]}
    errors = (await alice.http.post("/v1/projects", json=order)).json()["errors"]
    assert "/images/0/url" in {error["pointer"] for error in errors}
    assert not [error for error in errors if "Ref" in error["pointer"]]
