"""What a picture becomes before it is sent to Google."""

from io import BytesIO

import pytest
from PIL import Image

from tallyframe.providers.base import Media
from tallyframe.providers.fitting import FIRST_FRAME, INPUT_PICTURE, fit
from tests.support.crafted import chunk
from tests.support.crafted_png import broken
from tests.support.google_filming import INVALID, failing


def media(picture: Image.Image, kind: str, **options: object) -> Media:
    out = BytesIO()
    picture.save(out, kind, **options)
    return Media(out.getvalue(), f"image/{kind.lower()}", *picture.size)


def noise(size: tuple[int, int], mode: str = "RGB") -> Image.Image:
    return Image.effect_noise(size, 250).convert(mode)


async def reduced(picture: Media) -> Image.Image:
    """Return the JPEG that a picture becomes."""
    fitted = await fit(picture, FIRST_FRAME)
    assert (fitted.content_type, len(fitted.data) < FIRST_FRAME.max_bytes) == ("image/jpeg", True)
    found = Image.open(BytesIO(fitted.data))
    assert (found.format, found.size) == ("JPEG", (fitted.width, fitted.height))
    found.load()
    return found


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
async def test_small_picture_stays_as_it_is(kind: str) -> None:
    picture = media(noise((400, 300)), kind)
    assert await fit(picture, FIRST_FRAME) is picture


@pytest.mark.parametrize(
    ("size", "expected"), [((1500, 2400), (800, 1280)), ((2400, 1500), (1280, 800)), ((1100, 1100), (1100, 1100))]
)
async def test_large_picture_gets_the_size_of_the_video_and_is_never_enlarged(
    size: tuple[int, int], expected: tuple[int, int]
) -> None:
    picture = media(noise(size), "PNG", compress_level=0)
    assert len(picture.data) > FIRST_FRAME.max_bytes
    assert (await reduced(picture)).size == expected


async def test_webp_becomes_a_jpeg() -> None:
    assert (await reduced(media(Image.new("RGB", (40, 30), "red"), "WEBP"))).size == (40, 30)


async def test_what_is_transparent_becomes_white() -> None:
    found = await reduced(media(Image.new("RGBA", (16, 16), (255, 0, 0, 0)), "WEBP", lossless=True))
    assert found.getpixel((8, 8)) == (255, 255, 255)


async def test_sixteen_bits_keep_their_brightness() -> None:
    found = await reduced(media(Image.new("I;16", (1300, 1300), 0x8000), "PNG", compress_level=0))
    grey = found.getpixel((8, 8))
    assert isinstance(grey, tuple)
    assert all(abs(value - 128) <= 2 for value in grey)


async def test_a_result_with_a_damaged_extra_can_be_an_input_as_well() -> None:
    data = media(Image.new("RGB", (40, 30), "red"), "PNG").data
    damaged = data[:33] + broken(chunk(b"iCCP", b"icc")) + data[33:]
    await failing(fit(Media(b"RIFF" + damaged, "image/webp", 40, 30), FIRST_FRAME), INVALID)
    found = await reduced(Media(damaged, "image/webp", 40, 30))  # a WebP is not taken, so it is changed
    assert found.size == (40, 30)


@pytest.mark.parametrize("data", [b"", b"not a picture", b"GIF89a" + b"\0" * 20])
async def test_picture_that_cant_be_read_is_the_orders_fault(data: bytes) -> None:
    await failing(fit(Media(data, "image/webp", 1, 1), FIRST_FRAME), INVALID)


async def test_input_picture_keeps_more_of_its_size() -> None:
    fitted = await fit(media(noise((2400, 1600)), "PNG", compress_level=0), INPUT_PICTURE)
    assert (fitted.content_type, fitted.width, fitted.height) == ("image/jpeg", 2048, 1365)
    assert len(fitted.data) < INPUT_PICTURE.max_bytes


async def test_small_webp_is_an_input_picture_as_it_is() -> None:
    picture = media(noise((40, 30)), "WEBP")
    assert await fit(picture, INPUT_PICTURE) is picture
