"""What no provider here makes is refused before it costs anything; what is left open is chosen among what there is."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import Database
from tallyframe.errors import ValidationFailed
from tallyframe.operations import base
from tallyframe.providers.base import Offer
from tallyframe.settings import Settings
from tests.conftest import enroll, serving
from tests.support.cast import Member
from tests.support.remains import World, problem
from tests.support.shared import shared_database

database_url = shared_database("test_offered")

ALL = ("1:1", "9:16", "16:9", "4:5", "3:4")
VEO = Offer(("9:16", "16:9"), (4, 6, 8))
OMNI = Offer(("9:16", "16:9"), (4, 5, 6, 7, 8, 9, 10))
TALL = Offer(("9:16",), (3,))


@pytest.mark.parametrize(
    ("offers", "asked", "chosen"),
    [
        ([Offer(ALL)], None, "1:1"),
        ([Offer(("16:9", "9:16"))], None, "9:16"),
        ([Offer(("4:5", "16:9"))], None, "16:9"),
        ([Offer(("4:5", "3:4"))], None, "4:5"),
        ([VEO, Offer(("1:1",))], None, "1:1"),
        ([VEO], "16:9", "16:9"),
    ],
)
def test_the_shape_is_the_one_asked_for_or_the_first_favourite(
    offers: list[Offer], asked: str | None, chosen: str
) -> None:
    assert base.choose_ratio(offers, asked) == chosen


@pytest.mark.parametrize(
    ("offers", "asked", "longest", "chosen"),
    [
        ([VEO], None, 8, 6),
        ([VEO], None, 5, 4),
        ([OMNI], None, 5, 5),
        ([Offer(("9:16",), (8, 10))], None, 60, 8),
        ([Offer(("9:16",), (2, 5))], None, 60, 5),
        ([TALL, Offer(("9:16",), (7,))], None, 60, 3),
        ([Offer(("16:9",), (6,)), TALL], None, 60, 3),  # only who makes the shape has a say in the length
        ([VEO], 5, 8, 5),
        ([VEO], None, 3, 6),  # there is none: refused by the check
    ],
)
def test_the_length_is_the_one_asked_for_or_near_the_favourite(
    offers: list[Offer], asked: int | None, longest: int, chosen: int
) -> None:
    assert base.choose_seconds(offers, "9:16", asked, longest) == chosen


@pytest.mark.parametrize(
    ("offers", "ratio", "words"),
    [
        ([VEO], "1:1", "The aspect ratio 1:1 is not offered here: 9:16 or 16:9."),
        ([TALL], "1:1", "The aspect ratio 1:1 is not offered here: 9:16."),
        (
            [VEO, Offer(("9:16", "4:5", "3:4"))],
            "1:1",
            "The aspect ratio 1:1 is not offered here: 9:16, 16:9, 4:5 or 3:4.",
        ),
    ],
)
def test_a_shape_that_nobody_makes_is_refused_with_those_that_are_made(
    offers: list[Offer], ratio: str, words: str
) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        base.check_shape(offers, ratio)
    assert refusal.value.detail == words
    assert refusal.value.data == {"errors": [{"pointer": "/aspect_ratio", "detail": words}]}


@pytest.mark.parametrize(
    ("offers", "seconds", "longest", "words"),
    [
        ([VEO], 5, 8, "A video of 9:16 lasts 4, 6 or 8 seconds here."),
        ([VEO], 8, 6, "A video of 9:16 lasts 4 or 6 seconds here."),
        ([OMNI], 3, 60, "A video of 9:16 lasts 4 to 10 seconds here."),
        ([OMNI], 9, 8, "A video of 9:16 lasts 4 to 8 seconds here."),
        ([VEO, TALL], 7, 60, "A video of 9:16 lasts 3, 4, 6 or 8 seconds here."),
        ([TALL], 4, 60, "A video of 9:16 lasts 3 seconds here."),
        ([Offer(("16:9",), (5,)), TALL], 5, 60, "A video of 9:16 lasts 3 seconds here."),
        ([VEO], 4, 3, "A video of 9:16 can't be made in 3 seconds or less here."),
    ],
)
def test_a_length_that_nobody_makes_is_refused_with_those_that_are_made(
    offers: list[Offer], seconds: int, longest: int, words: str
) -> None:
    with pytest.raises(ValidationFailed) as refusal:
        base.check_video(offers, "9:16", seconds, longest)
    assert refusal.value.detail == words
    assert refusal.value.data == {"errors": [{"pointer": "/duration_seconds", "detail": words}]}


def test_what_somebody_makes_is_let_through() -> None:
    base.check_shape([TALL, Offer(("1:1",))], "1:1")
    base.check_video([VEO, OMNI], "16:9", 5, 8)
    base.check_video([VEO, OMNI], "9:16", 10, 10)
    with pytest.raises(ValidationFailed):
        base.check_video([VEO], "1:1", 6, 8)


@asynccontextmanager
async def shop(settings: Settings, db: Database, **more: Any) -> AsyncIterator[Member]:
    """Somebody with many credits, at an API whose settings name Google's providers."""
    google = {"gemini_api_key": "k" * 20, "image_providers": ("gemini",), **more}
    async with serving(settings.replaced(**google)) as client_for:
        yield await enroll(db, client_for, "shopper@example.com", 1000)


async def refused(member: Member, world: World, path: str, order: dict[str, Any] | None, pointer: str) -> None:
    """Check that the order is refused for this part of it, and that nothing is left of it."""
    before = await world.remains()
    answer = await member.http.post(path, json=order)  # None: no body at all
    body = problem(answer, 422, "validation_failed", order)
    assert [error["pointer"] for error in body["errors"]] == [pointer]
    assert await world.remains() == before


async def ordered(owner: Any, project: dict[str, Any]) -> dict[str, Any]:
    """What the generation is told to make."""
    query = """
        SELECT input->>'aspect_ratio' AS shape, (input->>'duration_seconds')::int AS seconds
        FROM generations WHERE id = $1"""
    return dict(await owner.fetchrow(query, UUID(project["generation"]["id"])))


async def test_veo_makes_no_squares_and_no_five_seconds(settings: Settings, db: Database, owner: Any) -> None:
    async with shop(settings, db, video_providers=("veo",)) as member:
        world, video = World(owner, settings), {"kind": "video", "prompt": "a cup"}
        await refused(member, world, "/v1/projects", {**video, "aspect_ratio": "1:1"}, "/aspect_ratio")
        await refused(member, world, "/v1/projects", {**video, "duration_seconds": 5}, "/duration_seconds")
        await refused(member, world, "/v1/projects", {**video, "duration_seconds": 9}, "/duration_seconds")
        for seconds in (4, 6, 8):
            await member.order(kind="video", aspect_ratio="16:9", duration_seconds=seconds)


async def test_a_form_is_held_to_the_same(settings: Settings, db: Database, owner: Any) -> None:
    async with shop(settings, db, video_providers=("veo",)) as member:
        form = {"kind": "video", "prompt": "a cup", "duration_seconds": "5"}
        before = await World(owner, settings).remains()
        answer = await member.http.post("/v1/projects", files={name: (None, value) for name, value in form.items()})
        body = problem(answer, 422, "validation_failed")
        assert [error["pointer"] for error in body["errors"]] == ["/duration_seconds"]
        assert await World(owner, settings).remains() == before


async def test_what_one_of_several_makes_is_accepted(settings: Settings, db: Database, owner: Any) -> None:
    async with shop(settings, db, video_providers=("omni", "veo")) as member:
        project = await member.order(kind="video", duration_seconds=5)
        assert await ordered(owner, project) == {"shape": "9:16", "seconds": 5}


async def test_what_is_left_open_is_chosen_among_what_is_offered(settings: Settings, db: Database, owner: Any) -> None:
    async with shop(settings, db, video_providers=("veo",)) as member:
        assert await ordered(owner, await member.order()) == {"shape": "1:1", "seconds": None}
        film = await member.order(kind="video")
        assert (await ordered(owner, film), film["aspect_ratio"]) == ({"shape": "9:16", "seconds": 6}, "9:16")
    async with shop(settings, db, video_providers=("veo",), max_video_seconds=5) as member:
        assert await ordered(owner, await member.order(kind="video")) == {"shape": "9:16", "seconds": 4}
    async with shop(settings, db, video_providers=("offline", "veo")) as member:
        assert await ordered(owner, await member.order(kind="video")) == {"shape": "1:1", "seconds": 6}


async def test_a_square_project_needs_another_shape_for_its_video(settings: Settings, db: Database, owner: Any) -> None:
    async with shop(settings, db, video_providers=("veo",)) as member:
        project = await member.order(aspect_ratio="1:1")
        await member.http.post(f"/v1/projects/{project['id']}/cancel")
        path = f"/v1/projects/{project['id']}/video"
        await refused(member, World(owner, settings), path, {}, "/aspect_ratio")
        await refused(
            member, World(owner, settings), path, {"aspect_ratio": "9:16", "duration_seconds": 5}, "/duration_seconds"
        )
        answer = await member.http.post(path, json={"aspect_ratio": "9:16"})
        assert answer.status_code == 202
        assert await ordered(owner, answer.json()) == {"shape": "9:16", "seconds": 6}


@pytest.mark.parametrize(
    ("order", "pointer"),
    [
        ({"aspect_ratio": "1:1"}, "/aspect_ratio"),
        ({"aspect_ratio": "9:16", "duration_seconds": 5}, "/duration_seconds"),
    ],
)
async def test_an_order_that_is_no_longer_offered_is_not_placed_again(
    settings: Settings, db: Database, owner: Any, order: dict[str, Any], pointer: str
) -> None:
    async with shop(settings, db, video_providers=("offline",)) as member:
        project = await member.order(kind="video", **order)
        await member.http.post(f"/v1/projects/{project['id']}/cancel")
    async with shop(settings, db, video_providers=("veo",)) as member:
        path = f"/v1/projects/{project['id']}/regenerate"
        await refused(member, World(owner, settings), path, None, pointer)
    async with shop(settings, db, video_providers=("offline",)) as member:
        assert (await member.http.post(path)).status_code == 202
