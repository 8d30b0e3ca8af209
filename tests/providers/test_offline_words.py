"""Text and vision of the offline provider: what it saw, what it would have used, and always the same."""

import json
import os
import subprocess
import sys
from io import BytesIO
from typing import Literal

import pytest
from PIL import Image
from pydantic import BaseModel, Field

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, Data, Media, TextTask, VisionTask
from tallyframe.providers.offline import OfflineProvider
from tests.support.drawn import turned_photo
from tests.support.tasks import Given


class Review(BaseModel):
    summary: str
    title: str = Field(max_length=70)
    colour: str
    shape: str = Field(json_schema_extra={"enum": ["square", "portrait", "landscape"]})
    tags: set[str]
    rating: int = Field(ge=0, le=100)
    details: list[str]


def plain(colour: str | int | tuple[int, ...], size: tuple[int, int] = (300, 200), mode: str = "RGB") -> Media:
    out = BytesIO()
    Image.new(mode, size, colour).save(out, "PNG")
    return Media(out.getvalue(), "image/png", None, None)


async def look(*pictures: Media, prompt: str = "What is this?") -> Review:
    task = VisionTask("Look.", prompt, Review, tuple(map(Given, pictures)))
    answer = await OfflineProvider().start(task, Call("key", 1))
    assert isinstance(answer, Data)
    return Review.model_validate(answer.value)


async def write(prompt: str, max_output_tokens: int = 4096) -> tuple[Data, Call]:
    call = Call("key", 1)
    answer = await OfflineProvider().start(TextTask("Write.", prompt, Review, max_output_tokens), call)
    assert isinstance(answer, Data)
    return answer, call


async def test_a_look_tells_number_size_shape_main_colour_and_tone() -> None:
    review = await look(plain("navy", (300, 400)), plain("gold", (640, 360)))
    assert review.summary.startswith("Picture 1 of 2: dark portrait, 300 x 400 pixels, mostly blue.")
    assert review.details[1].startswith("Picture 2 of 2: light landscape, 640 x 360 pixels, mostly yellow.")
    assert review.title == "Title: dark portrait, 300 x 400 pixels, mostly blue"
    assert (review.colour, review.shape) == ("blue", "portrait")
    assert review.tags == {"blue", "portrait", "dark"}
    assert "'What is this'" in review.summary


@pytest.mark.parametrize(
    ("colour", "name"),
    [
        *(("black", "black"), ("#777", "grey"), ("white", "white"), ("red", "red"), ("#c81e1e", "red")),
        *(("darkorange", "orange"), ("saddlebrown", "brown"), ("yellow", "yellow"), ("tan", "beige")),
        *(("lime", "green"), ("darkgreen", "green"), ("teal", "teal"), ("turquoise", "turquoise")),
        *(("blue", "blue"), ("skyblue", "blue"), ("purple", "purple"), ("hotpink", "pink"), ("magenta", "pink")),
    ],
)
async def test_colours_are_called_what_people_call_them(colour: str, name: str) -> None:
    assert (await look(plain(colour))).colour == name


async def test_the_main_colour_is_that_of_most_pixels() -> None:
    picture = Image.new("RGB", (100, 100), "lime")
    picture.paste("red", (0, 0, 40, 100))
    out = BytesIO()
    picture.save(out, "PNG")
    assert (await look(Media(out.getvalue(), "image/png", 100, 100))).colour == "green"


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
async def test_a_picture_is_looked_at_upright(kind: str) -> None:
    review = await look(Media(turned_photo(kind), f"image/{kind.lower()}", 24, 16))
    assert "portrait, 16 x 24 pixels" in review.summary


@pytest.mark.parametrize("picture", [plain(0, (1, 1), "1"), plain((9, 9), (5, 9), "LA"), plain(30_000, (9, 9), "I;16")])
async def test_all_kinds_of_pictures_are_looked_at(picture: Media) -> None:
    assert "pixels, mostly" in (await look(picture)).summary


async def test_what_is_said_of_each_picture_is_true_of_that_one() -> None:
    class Looks(BaseModel):
        shapes: list[Literal["square", "portrait", "landscape"]]
        known: set[Literal["square", "portrait", "landscape"]] = Field(min_length=2)
        short: str = Field(max_length=40)

    pictures = (Given(plain("navy", (300, 400))), Given(plain("gold", (640, 360))))
    answer = await OfflineProvider().start(VisionTask("Look.", "", Looks, pictures), Call("key", 1))
    assert isinstance(answer, Data)
    assert answer.value["shapes"] == ["portrait", "landscape", "portrait"]
    assert {"portrait", "landscape"} <= {*answer.value["known"]}
    assert answer.value["short"] == "Short: dark portrait, 300 x 400 pixels"


async def test_other_pictures_other_answers() -> None:
    assert await look(plain("red")) == await look(plain("red"))
    assert await look(plain("red")) != await look(plain("blue"))


async def test_a_picture_that_can_t_be_decoded_is_invalid_input() -> None:
    for broken in (b"no picture", plain("red").data[:60]):
        with pytest.raises(ProviderError) as error:
            await look(Media(broken, "image/png", 1, 1))
        assert (error.value.code, error.value.retryable) == (FailureCode.INVALID_INPUT, False)


async def test_the_number_of_pictures_is_limited() -> None:
    picture, provider = Given(plain("red")), OfflineProvider()
    for task in (
        VisionTask("Look.", "", Review, ()),
        VisionTask("Look.", "", Review, (picture,) * 11),
        TextTask("Write.", "", Review, inputs=(picture,)),
    ):
        assert not task.fits(provider.offers[task.capability])
        with pytest.raises(ProviderError) as error:
            await provider.start(task, Call("key", 1))
        assert (error.value.code, error.value.retryable) == (FailureCode.INVALID_INPUT, False)
    assert picture.reads == 0
    assert VisionTask("Look.", "", Review, (picture,) * 10).fits(provider.offers["vision"])


async def test_tokens_are_those_of_the_text_and_of_each_picture() -> None:
    answer, call = await write("A cup")
    assert call.usage.input_tokens == 3  # 11 characters
    assert call.usage.output_tokens == -(-len(json.dumps(answer.value)) // 4)
    seen = Call("key", 1)
    await OfflineProvider().start(VisionTask("Look.", "A cup", Review, (Given(plain("red")),) * 2), seen)
    assert seen.usage.input_tokens == 3 + 2 * 258


async def test_an_answer_that_is_too_long_is_cut() -> None:
    answer, call = await write("A cup")
    needed = call.usage.output_tokens or 0
    assert (await write("A cup", max_output_tokens=needed))[0] == answer
    with pytest.raises(ProviderError) as error:
        await write("A cup", max_output_tokens=needed - 1)
    assert (error.value.code, error.value.retryable) == (FailureCode.PROVIDER_REJECTED, False)


async def test_cards_and_instructions_don_t_show() -> None:
    assert (await write("A cup [flaky:0]"))[0] == (await write("A cup"))[0]
    assert "Write." not in json.dumps((await write("A cup"))[0].value)


PROGRAM = """
import asyncio, json
from tallyframe.providers.base import Call
from tests.providers.test_offline_words import write
print(json.dumps(asyncio.run(write("A red cup"))[0].value))
"""


@pytest.mark.parametrize("seed", ["1", "2"])
async def test_every_process_gives_the_same_answer(seed: str) -> None:
    environment = {**os.environ, "PYTHONHASHSEED": seed, "PYTHONPATH": os.pathsep.join(sys.path)}
    told = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, check=True)
    assert json.loads(told.stdout) == (await write("A red cup"))[0].value


async def test_every_version_gives_the_same_answer() -> None:
    assert (await write("A red cup"))[0].value == {
        "summary": "A sample summary for 'A red cup'.",
        "title": "Title: A red cup",
        "colour": "red",
        "shape": "square",
        "tags": ["cup", "red 2", "red"],
        "rating": 71,
        "details": [
            "Sample details 1, about 'A red cup'.",
            "'A red cup': sample details 2.",
            "A sample details 3 for 'A red cup'.",
        ],
    }
