"""What a client sends for an operation that nobody knew: pictures, defaults, and what is refused, with its place."""

from typing import Any
from uuid import uuid4

import pytest

from tests.operations.buying import ask_for
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.remains import World, problem

PIC = {"asset_id": str(uuid4())}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "nothing": ({}, "/input/topic"),
    "an empty text": ({"topic": "  "}, "/input/topic"),
    "a text that is too long": ({"topic": "a" * 4001}, "/input/topic"),
    "an unknown field": ({"topic": "a", "size": 3}, "/input/size"),
    "an unknown word": ({"topic": "a", "style": "odd"}, "/input/style"),
    "too long a word in a list": ({"topic": "a", "tags": ["ok", "much too long"]}, "/input/tags/1"),
    "too long a list": ({"topic": "a", "tags": ["1", "2", "3"]}, "/input/tags"),
    "no picture": ({"topic": "a", "logo": "a.png"}, "/input/logo"),
    "a bare id": ({"topic": "a", "logo": str(uuid4())}, "/input/logo"),
    "no id": ({"topic": "a", "logo": {"asset_id": "x"}}, "/input/logo"),
    "both": ({"topic": "a", "logo": {**PIC, "url": "https://a.example/a.png"}}, "/input/logo"),
    "two where one may be": ({"topic": "a", "logo": [PIC, PIC]}, "/input/logo"),
    "one where a list is": ({"topic": "a", "photos": PIC}, "/input/photos"),
    "no picture in a list": ({"topic": "a", "photos": [PIC, {"urls": "x"}]}, "/input/photos/1"),
    "too many pictures": ({"topic": "a", "photos": [PIC] * 3}, "/input/photos"),
    "an address that is none of the world": (
        {"topic": "a", "logo": {"url": "http://127.0.0.1/a.png"}},
        "/input/logo/url",
    ),
    "the same in a list": ({"topic": "a", "photos": [{"url": "http://127.0.0.1/a.png"}]}, "/input/photos/0/url"),
}


@pytest.fixture
def world(owner: Any, settings: Any) -> World:
    return World(owner, settings)


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_refused_with_its_place_and_leaves_nothing(
    alice: Member, world: World, case: str
) -> None:
    given, pointer = WRONG[case]
    before = await world.remains()
    body = problem(await ask_for(alice, "poster", **given), 422, "validation_failed", case)
    found = [error["pointer"] for error in body["errors"]]
    assert found
    assert all(each == pointer or each.startswith(f"{pointer}/") for each in found), found
    assert await world.remains() == before


async def test_a_picture_of_nobody_or_of_somebody_else_is_not_there(alice: Member, bob: Member, world: World) -> None:
    theirs = (await bob.http.post("/v1/assets", files={"file": ("a.png", picture(), "image/png")})).json()
    before = await world.remains()
    for asset_id in (theirs["id"], str(uuid4())):
        problem(await ask_for(alice, "poster", topic="a", logo={"asset_id": asset_id}), 404, "not_found")
        problem(await ask_for(alice, "poster", topic="a", photos=[{"asset_id": asset_id}]), 404, "not_found")
    assert await world.remains() == before
