"""A PNG with damage: to anything but pixels, it costs that thing; to pixels, the picture. And which frame is shown."""

import struct

import pytest
from PIL import Image

from tallyframe.errors import ValidationFailed
from tests.support.crafted import Pixel, chunk, clean, exif, pixel, read, write
from tests.support.crafted_png import (
    GREY,
    PALETTE,
    RGB,
    RGB_ALPHA,
    broken,
    header,
    idat,
    packed,
    png_around,
    sample_png,
)

WARM: Pixel = (200, 120, 40)
COLD: Pixel = (10, 20, 230)
CLEAR: Pixel = (0, 0, 0, 0)


def picture(colour: Pixel, width: int = 6, height: int = 4) -> list[list[Pixel]]:
    return [[colour] * width] * height


@pytest.mark.parametrize(
    "kind",
    [
        b"tRNS",
        b"cICP",
        b"iCCP",
        b"sRGB",
        b"gAMA",
        b"cHRM",
        b"eXIf",
        b"tEXt",
        b"pHYs",
        b"acTL",
        b"fcTL",
        b"fdAT",
        b"bKGD",
    ],
)
@pytest.mark.parametrize("body", [b"", b"\0", bytes(26), b"\xff" * 40])
def test_an_odd_extra_or_one_with_a_wrong_check_sum_costs_nothing_else(kind: bytes, body: bytes) -> None:
    for extra in (chunk(kind, body), broken(chunk(kind, body))):
        before = sample_png(RGB, 8, picture(WARM), extra)
        plain = sample_png(RGB, 8, picture(WARM))
        after = plain[:-12] + extra + plain[-12:]
        assert {pixel(read(clean(data))) for data in (before, after)} == {WARM}


def test_an_orientation_with_a_wrong_check_sum_is_dropped() -> None:
    turned = chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0"))
    assert read(clean(sample_png(RGB, 8, picture(WARM), turned))).size == (4, 6)
    assert read(clean(sample_png(RGB, 8, picture(WARM), broken(turned)))).size == (6, 4)


@pytest.mark.parametrize("cut", range(1, 17))
def test_a_cut_end_costs_nothing(cut: int) -> None:
    """The last 12 bytes are the end chunk, the 4 before a check sum."""
    assert pixel(read(clean(sample_png(RGB, 8, picture(WARM))[:-cut]))) == WARM


def test_what_follows_the_end_is_never_read() -> None:
    data = sample_png(RGB, 8, picture(WARM)) + broken(idat(picture(COLD), 8))
    assert pixel(read(clean(data))) == WARM


def test_pixels_in_many_pieces_are_one_picture() -> None:
    pixels = packed(picture(WARM), 8)
    pieces = [chunk(b"IDAT", pixels[at : at + 1]) + chunk(b"tEXt", b"") for at in range(len(pixels))]
    assert pixel(read(clean(png_around(header(6, 4, 8, RGB), chunk(b"IDAT", b""), *pieces)))) == WARM


PALETTE_CHUNK = chunk(b"PLTE", bytes(WARM))
PIXELS = packed([[(x * 40 % 256, y, x ^ y) for x in range(60)] for y in range(40)], 8)


@pytest.mark.parametrize(
    "data",
    [
        png_around(broken(header(6, 4, 8, RGB)), idat(picture(WARM), 8)),
        png_around(header(6, 4, 8, RGB), broken(idat(picture(WARM), 8))),
        png_around(header(6, 4, 8, RGB), idat(picture(WARM, 6, 3), 8)),
        png_around(header(60, 40, 8, RGB), chunk(b"IDAT", PIXELS[: len(PIXELS) // 2])),
        png_around(header(60, 40, 8, RGB), chunk(b"IDAT", PIXELS))[: -len(PIXELS) // 2],
        png_around(header(6, 4, 8, RGB), chunk(b"IDAT", b"no zlib")),
        png_around(header(6, 4, 8, RGB)),
        png_around(header(6, 4, 16, PALETTE), PALETTE_CHUNK, idat(picture((0,)), 16)),
        png_around(header(6, 4, 8, 5), idat(picture(WARM), 8)),
        png_around(header(6, 4, 7, GREY), idat(picture((0,)), 7)),
        png_around(header(6, 4, 8, PALETTE), idat(picture((0,)), 8)),
        png_around(header(6, 4, 8, PALETTE), broken(PALETTE_CHUNK), idat(picture((0,)), 8)),
        png_around(header(6, 4, 8, PALETTE), chunk(b"PLTE", b"\0\0"), idat(picture((0,)), 8)),
        png_around(chunk(b"IHDR", bytes(5)), idat(picture(WARM), 8)),
    ],
    ids=range(14),
)
def test_damage_to_pixels_is_refused(data: bytes) -> None:
    with pytest.raises(ValidationFailed, match="damaged or incomplete"):
        clean(data)


def control(number: int, width: int, height: int, left: int = 0, top: int = 0, ways: bytes = b"\0\0") -> bytes:
    """`ways`: how the frame's area is cleared afterwards, and whether it replaces or covers what is there."""
    return chunk(b"fcTL", struct.pack(">5IHH", number, width, height, left, top, 1, 10) + ways)


def frame(number: int, pixels: bytes) -> bytes:
    return chunk(b"fdAT", struct.pack(">I", number) + pixels)


FRAMES = chunk(b"acTL", struct.pack(">II", 2, 0))
HIDDEN = idat(picture(COLD), 8)


@pytest.mark.parametrize("ways", [bytes([dispose, blend]) for dispose in range(3) for blend in range(2)])
def test_the_first_frame_is_shown_where_it_belongs(ways: bytes) -> None:
    small = packed(picture(WARM, 2, 1), 8)
    frames = control(0, 2, 1, 3, 2, ways) + frame(1, small) + control(2, 6, 4) + frame(3, packed(picture(COLD), 8))
    image = read(clean(png_around(header(6, 4, 8, RGB), FRAMES, HIDDEN, frames)))
    assert image.size == (6, 4)
    shown = {(x, y): pixel(image, (x, y)) for x in range(6) for y in range(4)}
    assert [at for at, found in shown.items() if found != CLEAR] == [(3, 2), (4, 2)]
    assert shown[3, 2] == (*WARM, 255)


def test_a_first_frame_over_all_is_as_opaque_as_it_is() -> None:
    for kind, colour in ((RGB, WARM), (RGB_ALPHA, (*WARM, 90))):
        pixels = packed(picture(colour), 8)
        frames = control(0, 6, 4) + frame(1, pixels[:9]) + frame(2, pixels[9:])
        hidden = idat(picture((*COLD, 255)[: len(colour)]), 8)
        assert pixel(read(clean(png_around(header(6, 4, 8, kind), FRAMES, hidden, frames)))) == colour


def test_a_first_frame_has_the_pictures_palette_colours_and_orientation() -> None:
    extras = (
        chunk(b"gAMA", struct.pack(">I", 100_000)),
        chunk(b"PLTE", bytes([51, 85, 170, 0, 0, 0])),
        chunk(b"tRNS", b"\x66"),
    )
    turned = chunk(b"eXIf", exif(6).removeprefix(b"Exif\0\0"))
    frames = control(0, 6, 4) + frame(1, packed(picture((0,)), 8))
    image = read(clean(png_around(header(6, 4, 8, PALETTE), *extras, turned, FRAMES, idat(picture((1,)), 8), frames)))
    assert (image.size, pixel(image)) == ((4, 6), (124, 156, 213, 102))


def test_an_image_that_is_the_first_frame_is_shown() -> None:
    frames = control(1, 6, 4) + frame(2, packed(picture(WARM), 8))
    assert pixel(read(clean(png_around(header(6, 4, 8, RGB), FRAMES, control(0, 6, 4), HIDDEN, frames)))) == COLD


@pytest.mark.parametrize(
    "frames",
    [
        b"",
        control(0, 6, 4),
        control(0, 7, 4) + frame(1, packed(picture(WARM, 7, 4), 8)),
        control(0, 6, 4, 1) + frame(1, packed(picture(WARM), 8)),
        control(0, 0, 4) + frame(1, packed(picture(WARM), 8)),
        control(0, 6, 4) + frame(1, b"no zlib"),
        control(0, 6, 4) + frame(1, packed(picture(WARM, 6, 1), 8)),
        control(0, 6, 4) + broken(frame(1, packed(picture(WARM), 8))),
        chunk(b"fcTL", b"\0") + frame(1, packed(picture(WARM), 8)),
        frame(1, packed(picture(WARM), 8)),
    ],
    ids=range(10),
)
def test_where_the_first_frame_is_damaged_the_image_for_other_readers_is_shown(frames: bytes) -> None:
    assert pixel(read(clean(png_around(header(6, 4, 8, RGB), FRAMES, HIDDEN, frames)))) == COLD


@pytest.mark.parametrize("count", [b"", broken(FRAMES), chunk(b"acTL", bytes(8)), chunk(b"acTL", b"")])
def test_without_a_count_of_frames_there_is_no_animation(count: bytes) -> None:
    frames = control(0, 6, 4) + frame(1, packed(picture(WARM), 8))
    assert pixel(read(clean(png_around(header(6, 4, 8, RGB), count, HIDDEN, frames)))) == COLD


def test_pillows_animation_with_a_hidden_image() -> None:
    others = [Image.new("RGB", (8, 8), WARM), Image.new("RGB", (8, 8), "black")]
    data = write(Image.new("RGB", (8, 8), COLD), "PNG", save_all=True, default_image=True, append_images=others)
    assert pixel(read(clean(data)))[:3] == WARM
