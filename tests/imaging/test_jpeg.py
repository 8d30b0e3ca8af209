"""JPEGs whose segments are odd, whose end is missing, or whose colours are as fine as their brightness."""

import io
import struct
from typing import Any

import pytest
from PIL import Image, ImageFile
from PIL.JpegImagePlugin import JpegImageFile

from tallyframe.errors import ValidationFailed
from tests.support.crafted import RED, Pixel, clean, near, pixel, read, swapped_profile, write

NOISE = Image.merge("RGB", [Image.effect_noise((96, 64), sigma) for sigma in (90, 70, 50)])
FLAT = Image.new("RGB", (96, 64), (200, 30, 30))
HALVES = Image.new("RGB", (96, 64), (128, 128, 128))
HALVES.paste((10, 200, 60), (0, 0, 96, 20))
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "finest": {"quality": 100, "subsampling": 0},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_rows": 1},
}


def segment(marker: int, body: bytes) -> bytes:
    return bytes([0xFF, marker]) + struct.pack(">H", len(body) + 2) + body


def pixels(data: bytes) -> bytes:
    return read(clean(data)).tobytes()


def colour_of(data: bytes, at: tuple[int, int] = (0, 0)) -> Pixel:
    return pixel(read(clean(data)), at)


ICC = b"ICC_PROFILE\0"


@pytest.mark.parametrize(
    "image", [Image.new("RGB", (8, 8), RED), Image.new("L", (8, 8), 90), Image.new("CMYK", (8, 8))]
)
@pytest.mark.parametrize(
    ("marker", "body"),
    [
        *((0xE0, body) for body in (b"", b"J", b"JFIF", b"JFIF\0", b"JFIF\0\1", b"JFIF\0\1\1\0\0\1\0", b"JFXX\0\x10")),
        *((0xEE, body) for body in (b"", b"Adobe", b"Adobe\0d\0\0", b"Adob\0\0d\0\0\0\0\2", b"Other")),
        *((0xE2, body) for body in (b"", ICC, ICC + b"\1", ICC + b"\1\2abc", ICC + b"\0\0abc", b"MPF\0MM", b"FPXR\0")),
        *((marker, b"\xff" * 9) for marker in (0xE1, 0xE3, 0xED, 0xEF, 0xFE)),
        *((marker, b"") for marker in (0xE1, 0xE3, 0xED, 0xEF, 0xFE)),
    ],
    ids=range(29),
)
def test_an_odd_segment_costs_nothing(image: Image.Image, marker: int, body: bytes) -> None:
    data = write(image, "JPEG")
    assert pixels(data[:2] + segment(marker, body) + data[2:]) == pixels(data)


def test_a_short_jfif_counts_as_none() -> None:
    data = write(NOISE, "JPEG")
    assert data[2:4] == b"\xff\xe0"
    assert pixels(data[:2] + segment(0xE0, b"JFIF\0\1\1") + data[20:]) == pixels(data)


def test_what_the_channels_mean_is_still_read() -> None:
    image = Image.new("RGB", (8, 8), RED)
    assert near(colour_of(write(image, "JPEG", keep_rgb=True)), RED)
    assert near(colour_of(write(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")), RED)


def parts(*order: tuple[int, int]) -> bytes:
    """Cut a profile in three, and number them as told: which part, and of how many."""
    profile = swapped_profile()
    size = -(-len(profile) // 3)
    pieces = {n + 1: profile[n * size : (n + 1) * size] for n in range(3)}
    return b"".join(segment(0xE2, ICC + bytes([n, of]) + pieces[n]) for n, of in order)


@pytest.mark.parametrize(
    ("order", "used"),
    [
        ([(1, 3), (2, 3), (3, 3)], True),
        ([(3, 3), (1, 3), (2, 3)], True),
        ([(1, 3), (1, 3), (2, 3), (3, 3)], True),
        ([(1, 3), (3, 3)], False),
        ([(1, 4), (2, 4), (3, 4)], False),
    ],
)
def test_a_profile_in_parts(order: list[tuple[int, int]], used: bool) -> None:  # noqa: FBT001
    data = write(Image.new("RGB", (8, 8), RED), "JPEG", quality=95)
    assert near(colour_of(data[:2] + parts(*order) + data[2:]), (0, 255, 0) if used else RED)


def test_the_metadata_between_scans_costs_nothing() -> None:
    data = write(NOISE, "JPEG", progressive=True)
    scan = data.rindex(b"\xff\xda")
    table = data.rindex(b"\xff\xc4", 0, scan)
    assert pixels(data[:table] + segment(0xE0, b"JFIF") + segment(0xE2, ICC) + data[table:]) == pixels(data)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "end", [b"", b"\xff", b"\0\0", b"\xff\0", b"\xff\xd0", b"\xff\xc4", b"\xff\xff", b"ab", bytes(99)]
)
def test_a_missing_end_costs_nothing(kind: str, end: bytes) -> None:
    for image in (NOISE, FLAT):
        data = write(image, "JPEG", **KINDS[kind])
        assert pixels(data[:-2] + end) == pixels(data)


def test_any_two_bytes_may_stand_in_the_place_of_the_end() -> None:
    data = write(NOISE, "JPEG")
    whole = pixels(data)
    for last in range(256):
        for end in (bytes([0xFF, last]), bytes([last, 0xFF])):
            assert pixels(data[:-2] + end) == whole, end


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("image", [NOISE, FLAT, HALVES, NOISE.convert("L")], ids=["noise", "flat", "halves", "grey"])
def test_half_a_picture_is_refused(kind: str, image: Image.Image) -> None:
    data = write(image, "JPEG", **KINDS[kind])
    start = data.index(b"\xff\xda")
    for share in (0.02, 0.2, 0.5, 0.7, 0.9):
        cut = start + 14 + round((len(data) - start - 14) * share)
        with pytest.raises(ValidationFailed, match="damaged or incomplete"):
            clean(data[:cut])


@pytest.mark.parametrize("image", [NOISE, FLAT], ids=["noise", "flat"])
def test_a_picture_cut_at_a_restart_is_refused(image: Image.Image) -> None:
    data = write(image, "JPEG", restart_marker_blocks=3)
    restarts = [
        at for at in range(data.index(b"\xff\xda"), len(data)) if data[at] == 0xFF and 0xD0 <= data[at + 1] < 0xD8
    ]
    assert len(restarts) > 5
    for at in restarts:
        for cut in (at, at + 1, at + 2):
            with pytest.raises(ValidationFailed, match="damaged or incomplete"):
                clean(data[:cut])


def test_scans_that_are_missing_are_missed() -> None:
    for image in (NOISE, FLAT, NOISE.convert("L")):
        data = write(image, "JPEG", progressive=True)
        starts = [at for at in range(len(data)) if data[at : at + 2] == b"\xff\xda"]
        for start in starts[1:]:
            with pytest.raises(ValidationFailed, match="damaged or incomplete"):
                clean(data[:start])


@pytest.mark.parametrize(
    ("given", "kept"), [("4:4:4", (1, 1)), ("4:2:2", (1, 1)), ("4:2:0", (2, 2)), ("4:1:1", (2, 2))]
)
def test_colours_stay_as_fine_as_they_were(given: str, kept: tuple[int, int]) -> None:
    cleaned = clean(write(NOISE, "JPEG", subsampling=given, quality=95))
    with JpegImageFile(io.BytesIO(cleaned.data)) as image:
        assert image.layer[0][1:3] == kept
    stripes = Image.new("RGB", (32, 32), (255, 0, 0))
    for x in range(0, 32, 2):
        stripes.paste((0, 0, 255), (x, 0, x + 1, 32))
    if given == "4:4:4":
        found = colour_of(write(stripes, "JPEG", subsampling=given, quality=95), (16, 16))
        assert all(abs(a - b) < 40 for a, b in zip(found, (0, 0, 255), strict=True))


def test_pillow_is_left_as_it_was() -> None:
    clean(write(NOISE, "JPEG")[:-2])
    assert not ImageFile.LOAD_TRUNCATED_IMAGES
