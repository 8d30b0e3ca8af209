"""The images of the offline provider, decoded for real."""

import asyncio
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image, ImageChops

import tallyframe
from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Call, ImageTask, Media, Provider
from tallyframe.providers.offline import OfflineProvider
from tallyframe.providers.offline.lettering import writable
from tallyframe.providers.offline.picture import arrange
from tests.support.tasks import Given

SAMPLES = Path(tallyframe.__file__).parent / "demo" / "samples"
FIRST = Call("gen-1-try-1", 1)


def encoded(picture: Image.Image, file_format: str = "PNG", **options: object) -> Media:
    out = BytesIO()
    picture.save(out, file_format, **options)
    return Media(out.getvalue(), f"image/{file_format.lower()}", *picture.size)


def plain(colour: str, size: tuple[int, int] = (300, 200), mode: str = "RGB") -> Image.Image:
    return Image.new(mode, size, colour)


async def make(prompt: str, aspect_ratio: str = "1:1", pictures: tuple[Media, ...] = ()) -> Media:
    provider: Provider = OfflineProvider()
    made = await provider.start(ImageTask(prompt, aspect_ratio, tuple(map(Given, pictures))), FIRST)
    assert isinstance(made, Media)
    return made


def decoded(media: Media) -> Image.Image:
    picture = Image.open(BytesIO(media.data))
    picture.load()
    return picture


def share_of(picture: Image.Image, colour: tuple[int, int, int]) -> float:
    """How much of a picture has about this colour, from 0 to 1."""
    far = ImageChops.difference(picture.convert("RGB"), Image.new("RGB", picture.size, colour))
    near = [band.point(lambda value: 255 if value < 16 else 0) for band in far.split()]
    same = ImageChops.darker(ImageChops.darker(near[0], near[1]), near[2])
    return same.histogram()[255] / (picture.width * picture.height)


@pytest.mark.parametrize(
    ("aspect_ratio", "size"),
    [
        *(("1:1", (1024, 1024)), ("9:16", (720, 1280)), ("16:9", (1280, 720))),
        *(("4:5", (864, 1080)), ("3:4", (864, 1152))),
    ],
)
async def test_png_of_the_asked_ratio(aspect_ratio: str, size: tuple[int, int]) -> None:
    media = await make("A cup", aspect_ratio)
    picture = decoded(media)
    assert (media.content_type, media.width, media.height, media.duration_seconds) == ("image/png", *size, None)
    assert (picture.format, picture.mode, picture.size) == ("PNG", "RGB", size)


async def test_same_order_same_bytes_and_other_prompt_other_picture() -> None:
    pictures = (encoded(plain("red")), encoded(plain("blue")))
    assert await make("A cup", "4:5", pictures) == await make("A cup", "4:5", pictures)
    assert await make("A cup") == await make("A cup [flaky:0]")
    assert await make("A cup") != await make("A mug")


@pytest.mark.parametrize("aspect_ratio", ["1:1", "9:16", "16:9", "4:5", "3:4"])
async def test_two_pictures_are_both_well_visible(aspect_ratio: str) -> None:
    person, product = encoded(plain("#00ff00", (400, 500))), encoded(plain("#0000ff", (600, 400)))
    picture = decoded(await make("A cup", aspect_ratio, (person, product)))
    assert share_of(picture, (0, 255, 0)) > 0.12
    assert share_of(picture, (0, 0, 255)) > 0.08


@pytest.mark.parametrize("count", [1, 3, 4])
async def test_every_picture_is_shown(count: int) -> None:
    colours = [(0, 255, 0), (0, 0, 255), (255, 0, 255), (255, 255, 0)][:count]
    pictures = tuple(encoded(Image.new("RGB", (300, 200), colour)) for colour in colours)
    picture = decoded(await make("Some cups", "16:9", pictures))
    assert all(share_of(picture, colour) > 0.04 for colour in colours)


async def test_a_picture_is_shown_whole() -> None:
    striped = plain("#00ff00", (900, 100))
    striped.paste((0, 0, 255), (0, 0, 90, 100))
    striped.paste((255, 0, 255), (810, 0, 900, 100))
    picture = decoded(await make("A banner", "9:16", (encoded(striped),)))
    ends = [share_of(picture, colour) for colour in ((0, 0, 255), (255, 0, 255))]
    assert share_of(picture, (0, 255, 0)) / sum(ends) == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize(
    "media",
    [
        encoded(plain("red"), "JPEG"),
        encoded(plain("red"), "WEBP"),
        encoded(plain("red", mode="CMYK"), "JPEG"),
        encoded(plain("red").convert("P")),
        encoded(plain("red").convert("P"), transparency=0),
        encoded(Image.new("LA", (30, 20), (9, 99))),
        encoded(Image.new("1", (30, 20), 1)),
        encoded(Image.new("I;16", (30, 20), 30_000)),
        encoded(Image.new("RGBA", (30, 20), (255, 0, 0, 0))),
        encoded(plain("red", (1, 1))),
        encoded(plain("red", (1, 2000))),
        encoded(plain("red", (3000, 2))),
    ],
)
async def test_all_kinds_of_pictures_are_taken(media: Media) -> None:
    assert decoded(await make("A cup", "1:1", (media,))).size == (1024, 1024)
    assert decoded(await make("A cup", "1:1", (media, media))).size == (1024, 1024)


async def test_pictures_are_turned_upright() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter
    lying, upright = plain("#00ff00", (600, 200)), plain("#00ff00", (200, 600))
    turned = decoded(await make("A cup", "9:16", (encoded(lying, "PNG", exif=exif),)))
    assert turned.tobytes() == decoded(await make("A cup", "9:16", (encoded(upright),))).tobytes()


@pytest.mark.parametrize(
    "prompt",
    [
        *("", " ", "[delayed]", "word " * 900, "W" * 4000, "三个产品在桌子上" * 60, "\x00\x1b\n\t\r", "\ud83d alone"),
        *(
            "مرحبا بالعالم",
            "שלום \u202e עולם",
            "👩🏽‍🚀🏳️‍🌈",
            "Zürich — “œuvre” façade €5",
            "ﷺ" * 700,
            "e" + "\u0301" * 3000,
        ),
    ],
)
async def test_any_prompt_is_typeset(prompt: str) -> None:
    assert decoded(await make(prompt, "9:16")).size == (720, 1280)


def test_letters_that_the_font_lacks() -> None:
    assert writable("Çà  et—là,\nß Łódź 三") == "Ca et-la, ss Lodz 三"


async def test_the_prompt_and_the_label_are_written() -> None:
    words, none = decoded(await make("A cup " * 9)), decoded(await make(""))
    assert share_of(words.crop((0, 700, 1024, 920)), (255, 255, 255)) > 0.01
    assert share_of(none.crop((0, 700, 1024, 920)), (255, 255, 255)) == 0
    assert share_of(none.crop((0, 920, 1024, 1024)), (235, 237, 242)) > 0.005


@pytest.mark.parametrize(
    ("aspect_ratio", "pictures"),
    [
        ("2:1", ()),
        ("1:1", (Media(b"no picture", "image/png", 1, 1),)),
        ("1:1", (Media(encoded(plain("red")).data[:60], "image/png", 300, 200),)),
        ("1:1", (encoded(plain("red")),) * 5),
    ],
)
async def test_unusable_orders_are_invalid_input(aspect_ratio: str, pictures: tuple[Media, ...]) -> None:
    with pytest.raises(ProviderError) as error:
        await make("A cup", aspect_ratio, pictures)
    assert (error.value.code, error.value.retryable) == (FailureCode.INVALID_INPUT, False)


async def test_drawing_leaves_the_event_loop_free() -> None:
    drawing = asyncio.create_task(make("A cup", "1:1", (encoded(plain("red")),) * 4))
    ticks = 0
    while not drawing.done():
        await asyncio.sleep(0.001)
        ticks += 1
    assert ticks > 3


@pytest.mark.parametrize("name", ["person.jpg", "product.jpg"])
def test_samples_are_small_photos(name: str) -> None:
    path = SAMPLES / name
    with Image.open(path) as picture:
        assert picture.format == "JPEG"
        assert min(picture.size) >= 400
    assert path.stat().st_size <= 200_000


@pytest.mark.parametrize("ratios", [[1.0], [1, 1.5], [0.1, 10], [10, 0.1], [0.5] * 3, [3.0] * 4, [0.001, 1000, 1, 1]])
@pytest.mark.parametrize("stage", [(50, 50, 950, 700), (30, 40, 600, 1100)])
def test_pictures_stay_on_the_stage(ratios: list[float], stage: tuple[int, int, int, int]) -> None:
    for left, top, right, bottom in arrange(ratios, stage, 20):
        assert stage[0] - 1 <= left < right <= stage[2] + 1
        assert stage[1] - 1 <= top < bottom <= stage[3] + 1
