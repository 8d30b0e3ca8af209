"""What vendors send: taken as it is if it is whole, refused with words for the operator if it isn't."""

import asyncio
import struct
from functools import cache
from io import BytesIO
from typing import Any

import av
import pytest
from PIL import Image

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Media
from tallyframe.providers.received import received_image, received_video
from tests.support.crafted import Pixel, chunk, full_png, png, vp8x
from tests.support.crafted_png import RGB, broken, header, idat, png_around, sample_png
from tests.support.google_videos import film


@cache
def noise(kind: str, size: tuple[int, int] = (80, 60)) -> bytes:
    """A picture that can't be packed small, so that cutting it cuts pixels."""
    out = BytesIO()
    Image.effect_noise(size, 90).convert("RGB").save(out, kind)
    return out.getvalue()


def saved(kind: str, **options: Any) -> bytes:
    out = BytesIO()
    Image.new("RGB", (30, 20), "teal").save(out, kind, **options)
    return out.getvalue()


def wrong_check_sum() -> bytes:
    """A PNG whose pixels can be unpacked all the same."""
    before, end, after = full_png(40, 30).rpartition(b"\0\0\0\0IEND")
    return before[:-1] + bytes([before[-1] ^ 1]) + end + after


@cache
def sound() -> bytes:
    """An MP4 with nothing to see."""
    out = BytesIO()
    with av.open(out, "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=8000, layout="mono")
        for start in range(0, 8192, 1024):
            frame = av.AudioFrame("fltp", "mono", 1024)
            frame.planes[0].update(bytes(4096))
            frame.pts, frame.sample_rate = start, 8000
            container.mux(stream.encode(frame))
        container.mux(stream.encode())
    return out.getvalue()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_picture_stays_as_it_is(kind: str) -> None:
    assert received_image(noise(kind)) == Media(noise(kind), f"image/{kind.lower()}", 80, 60)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes are neither"),
        (b"<svg xmlns='http://www.w3.org/2000/svg'/>", "neither JPEG, PNG nor WebP"),
        (saved("GIF"), "neither"),
        (saved("TIFF"), "neither"),
        (saved("AVIF"), "neither"),
        (b"RIFF\0\0\0\0WAVE", "neither"),
        *((noise(kind)[: len(noise(kind)) // 2], "damaged") for kind in ("JPEG", "PNG", "WEBP")),
        *((noise(kind)[:20], "damaged") for kind in ("JPEG", "PNG", "WEBP")),
        (wrong_check_sum(), "damaged"),
        (full_png(6400, 6251), "6,400 x 6,251 pixels; at most 40,000,000"),
        (png(50_000, 50_000), "50,000 x 50,000 pixels"),
        (vp8x(16_000, 16_000), "16,000 x 16,000 pixels"),
        (vp8x(160, 160), "damaged"),
    ],
)
def test_anything_else_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ProviderError) as caught:
        received_image(data)
    assert (caught.value.code, caught.value.retryable) == (FailureCode.PROVIDER_REJECTED, True)
    assert (caught.value.in_doubt, caught.value.alarm) == (False, False)
    assert said in caught.value.operator_message


WARM: Pixel = (200, 120, 40)
EXTRAS = (b"tEXt", b"iCCP", b"tRNS", b"gAMA", b"cHRM", b"sRGB", b"cICP", b"eXIf", b"caBX", b"acTL")


@pytest.mark.parametrize("kind", EXTRAS)
def test_a_png_with_a_damaged_extra_is_kept_as_it_is(kind: bytes) -> None:
    """It is paid for, and every browser shows it."""
    plain = sample_png(RGB, 8, [[WARM] * 6] * 4)
    extra = broken(chunk(kind, b"abc"))
    for data in (sample_png(RGB, 8, [[WARM] * 6] * 4, extra), plain[:-12] + extra + plain[-12:], plain[:-12]):
        assert received_image(data) == Media(data, "image/png", 6, 4)


def test_a_jpeg_or_webp_with_a_damaged_extra_is_kept_as_it_is() -> None:
    jpeg, webp = noise("JPEG"), noise("WEBP")
    short = jpeg[:2] + b"\xff\xe0\0\x07JFIF\0\xff\xe2\0\x10ICC_PROFILE\0\1\2" + jpeg[2:]
    for data in (short, jpeg[:-2]):
        assert received_image(data) == Media(data, "image/jpeg", 80, 60)
    for data in (webp + b"EXIF\xff\xff\0\0cut", webp + b"rest"):
        assert received_image(data) == Media(data, "image/webp", 80, 60)


def test_damage_to_pixels_is_damage_whatever_else_is_there() -> None:
    line = [WARM] * 6
    for data in (
        png_around(broken(header(6, 4, 8, RGB)), idat([line] * 4, 8)),
        png_around(header(6, 4, 8, RGB), broken(idat([line] * 4, 8))),
        png_around(header(6, 4, 8, RGB), idat([line] * 3, 8)),
    ):
        with pytest.raises(ProviderError, match="no usable result") as caught:
            received_image(data)
        assert "PNG picture is damaged" in caught.value.operator_message


def test_the_most_pixels_are_as_told() -> None:
    assert received_image(full_png(40, 30), max_pixels=1200).width == 40
    with pytest.raises(ProviderError):
        received_image(full_png(40, 30), max_pixels=1199)


async def test_a_film_stays_as_it_is() -> None:
    assert await received_video(film(90, 160, 2)) == Media(film(90, 160, 2), "video/mp4", 90, 160, 2.0)


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", 8 + len(body)) + kind + body


def blank(data: bytes) -> bytes:
    """A film with all its tables, whose pictures are gone."""
    start = data.index(b"mdat") + 4
    end = start - 8 + int.from_bytes(data[start - 8 : start - 4], "big")
    return data[:start] + bytes(end - start) + data[end:]


async def test_boxes_of_any_kind_are_walked_over() -> None:
    long = struct.pack(">I4sQ", 1, b"free", 20) + b"free"  # a length of 64 bits
    to_the_end = struct.pack(">I4s", 0, b"free") + b"the rest"
    assert (await received_video(film() + box(b"free", b"x") + long + to_the_end)).width == 90


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "0 bytes are no complete MP4"),
        (b"RIFF\0\0\0\0AVI LIST", "no complete MP4"),
        (noise("PNG"), "no complete MP4"),
        (film()[: len(film()) // 2], "no complete MP4"),
        (film()[:-1], "no complete MP4"),
        (film() + struct.pack(">I4sQ", 1, b"mdat", 1000), "no complete MP4"),
        (box(b"ftyp", b"isom\0\0\2\0isomiso2avc1mp41") + box(b"mdat", bytes(64)), "can't be opened"),
        (film().replace(b"avc1", b"xxxx"), "can't be opened"),
        (blank(film()), "can't be opened"),
        (sound(), "no video in it"),
    ],
)
async def test_any_other_film_is_refused(data: bytes, said: str) -> None:
    with pytest.raises(ProviderError) as caught:
        await received_video(data)
    assert (caught.value.code, caught.value.retryable) == (FailureCode.PROVIDER_REJECTED, False)
    assert said in caught.value.operator_message


async def test_looking_leaves_the_event_loop_free() -> None:
    looking = asyncio.create_task(received_video(film(640, 360, 3)))
    turns = 0
    while not looking.done():
        await asyncio.sleep(0)
        turns += 1
    assert turns > 2
    assert (await looking).duration_seconds == 3.0
