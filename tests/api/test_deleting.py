"""Deleting while others use the same picture: nobody loses it, and nobody keeps it for ever."""

import asyncio
from typing import Any

import httpx

from tallyframe.errors import Unavailable
from tallyframe.generations.accept.order import Accepted
from tallyframe.generations.accept.submit import submit
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.working import Bench


async def with_picture(member: Member, prompt: str) -> tuple[str, str]:
    """Order with a picture, cancel, and return the ids of project and picture."""
    files = {"images": ("a.png", picture(), "image/png")}
    answer = await member.http.post("/v1/projects", data={"kind": "image", "prompt": prompt}, files=files)
    assert answer.status_code == 202, answer.text
    await member.http.post(f"/v1/projects/{answer.json()['id']}/cancel")
    return answer.json()["id"], answer.json()["images"][0]["id"]


async def use(member: Member, asset_id: str) -> httpx.Response:
    order = {"kind": "image", "prompt": "a cup", "images": [{"asset_id": asset_id}]}
    return await member.http.post("/v1/projects", json=order)


async def test_an_order_gets_a_picture_that_stays_or_none(rich: Member, bench: Bench, owner: Any) -> None:
    taken = 0
    for number in range(12):
        project_id, asset_id = await with_picture(rich, f"cup {number}")
        deleted, ordered = await asyncio.gather(rich.http.delete(f"/v1/projects/{project_id}"), use(rich, asset_id))
        assert deleted.status_code == 204, deleted.text
        assert ordered.status_code in {202, 404}, ordered.text
        if ordered.status_code == 202:
            taken += 1
            picture = ordered.json()["images"][0]
            assert (await rich.http.get(picture["url"])).status_code == 200
    outcomes = await bench.drain()
    assert outcomes == ["succeeded"] * taken
    assert await owner.fetchval("SELECT count(*) FROM erased_files") == 0


async def test_two_projects_that_share_a_picture_go_together(rich: Member, owner: Any) -> None:
    for number in range(8):
        first, asset_id = await with_picture(rich, f"cup {number}")
        second = (await use(rich, asset_id)).json()
        await rich.http.post(f"/v1/projects/{second['id']}/cancel")
        answers = await asyncio.gather(*(rich.http.delete(f"/v1/projects/{each}") for each in (first, second["id"])))
        assert [answer.status_code for answer in answers] == [204, 204]
        assert (await rich.http.get(second["images"][0]["url"])).status_code == 404
    assert await owner.fetchval("SELECT count(*) FROM assets") == 0
    assert await owner.fetchval("SELECT count(*) FROM outbox") == 0


async def test_an_order_that_may_have_been_accepted_keeps_its_pictures(
    alice: Member, bench: Bench, monkeypatch: Any
) -> None:
    async def cut_off(*arguments: Any) -> Accepted | None:
        await submit(*arguments)
        raise Unavailable

    monkeypatch.setattr("tallyframe.api.orders.submit", cut_off)
    files = {"images": ("a.png", picture(), "image/png")}
    answer = await alice.http.post("/v1/projects", data={"kind": "image", "prompt": "a cup"}, files=files)
    assert answer.status_code == 503
    assert await bench.drain() == ["succeeded"]
