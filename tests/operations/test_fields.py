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
    "nothing": ({}, "/input/prompt"),
    "an empty text": ({"prompt": "  "}, "/input/prompt"),
    "a text that is too long": ({"prompt": "a" * 4001}, "/input/prompt"),
    "an unknown field": ({"prompt": "a", "size": 3}, "/input/size"),
    "an unknown word": ({"prompt": "a", "style": "odd"}, "/input/style"),
    "too long a word in a list": ({"prompt": "a", "tags": ["ok", "much too long"]}, "/input/tags/1"),
    "too long a list": ({"prompt": "a", "tags": ["1", "2", "3"]}, "/input/tags"),
    "no picture": ({"prompt": "a", "logo": "a.png"}, "/input/logo"),
    "a bare id": ({"prompt": "a", "logo": str(uuid4())}, "/input/logo"),
    "no id": ({"prompt": "a", "logo": {"asset_id": "x"}}, "/input/logo"),
    "both": ({"prompt": "a", "logo": {**PIC, "url": "https://a.example/a.png"}}, "/input/logo"),
    "two where one may be": ({"prompt": "a", "logo": [PIC, PIC]}, "/input/logo"),
    "one where a list is": ({"prompt": "a", "images": PIC}, "/input/images"),
    "no picture in a list": ({"prompt": "a", "images": [PIC, {"urls": "x"}]}, "/input/images/1"),
    "too many pictures": ({"prompt": "a", "images": [PIC] * 3}, "/input/images"),
    "an address that is none of the world": (
        {"prompt": "a", "logo": {"url": "http://127.0.0.1/a.png"}},
        "/input/logo/url",
    ),
    "the same in a list": ({"prompt": "a", "images": [{"url": "http://127.0.0.1/a.png"}]}, "/input/images/0/url"),
}


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
        problem(await ask_for(alice, "poster", prompt="a", logo={"asset_id": asset_id}), 404, "not_found")
        problem(await ask_for(alice, "poster", prompt="a", images=[{"asset_id": asset_id}]), 404, "not_found")
    assert await world.remains() == before
