"""PNG samples of every depth: their tone, and a transparent colour that is compared at the file's own depth."""

import struct

import pytest

from tests.support.crafted import Pixel, chunk, clean, pixel, read
from tests.support.crafted_png import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, broken, sample_png


def shown(data: bytes, at: tuple[int, int] = (0, 0)) -> Pixel:
    return pixel(read(clean(data)).convert("RGBA"), at)


def near(one: Pixel, other: Pixel) -> bool:
    return all(abs(a - b) <= 1 for a, b in zip(one, other, strict=True))


def key(*values: int) -> bytes:
    return chunk(b"tRNS", struct.pack(f">{len(values)}H", *values))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize(
    ("colour_type", "depth"), [*((GREY, depth) for depth in (1, 2, 4, 8, 16)), (RGB, 8), (RGB, 16)]
)
def test_exactly_the_transparent_colour_is_transparent(colour_type: int, depth: int, *, interlaced: bool) -> None:
    channels, most = (1, 3)[colour_type == RGB], (1 << depth) - 1
    taken = (most // 2,) * channels
    other = (*taken[:-1], taken[-1] + 1)  # with 16 bits, the same in 8
    rows = [[taken, other, taken], [other, (0,) * channels, (most,) * channels]]
    image = read(clean(sample_png(colour_type, depth, rows, key(*taken), interlaced=interlaced))).convert("RGBA")
    for y, line in enumerate(rows):
        for x, samples in enumerate(line):
            level = [round(value / most * 255) for value in (samples if channels == 3 else samples * 3)]
            assert near(pixel(image, (x, y)), (*level, 0 if samples == taken else 255)), (x, y)


def test_bits_above_the_depth_count_for_nothing() -> None:
    assert shown(sample_png(GREY, 4, [[(5,)]], key(0xFF05))) == (85, 85, 85, 0)


@pytest.mark.parametrize("trns", [b"", b"\0", b"\0\0\0", bytes(6), bytes(300)])
def test_a_transparent_colour_of_another_length_is_dropped(trns: bytes) -> None:
    assert shown(sample_png(GREY, 8, [[(0,)]], chunk(b"tRNS", trns))) == (0, 0, 0, 255)


@pytest.mark.parametrize("colour_type", [GREY_ALPHA, RGB_ALPHA])
def test_with_alpha_there_is_no_transparent_colour(colour_type: int) -> None:
    samples = (0,) * (1, 3)[colour_type == RGB_ALPHA] + (200,)
    assert shown(sample_png(colour_type, 8, [[samples]], key(0, 0, 0))) == (0, 0, 0, 200)


def test_a_transparent_colour_with_a_wrong_check_sum_is_dropped() -> None:
    assert shown(sample_png(RGB, 8, [[(1, 2, 3)]], broken(key(1, 2, 3)))) == (1, 2, 3, 255)


@pytest.mark.parametrize(
    ("colour_type", "samples", "expected"),
    [
        (GREY, (0x1234,), (0x12, 0x12, 0x12, 255)),
        (GREY_ALPHA, (0x1234, 0xABCD), (0x12, 0x12, 0x12, 0xAB)),
        (RGB, (0x1234, 0x5678, 0x9ABC), (0x12, 0x56, 0x9A, 255)),
        (RGB_ALPHA, (0x1234, 0x5678, 0x9ABC, 0xDEF0), (0x12, 0x56, 0x9A, 0xDE)),
    ],
)
def test_sixteen_bits_keep_their_tone(colour_type: int, samples: Pixel, expected: Pixel) -> None:
    assert near(shown(sample_png(colour_type, 16, [[samples]])), expected)


@pytest.mark.parametrize("depth", [2, 4, 8])
@pytest.mark.parametrize(
    ("alphas", "expected"),
    [(b"", (255, 255)), (b"\0", (0, 255)), (b"\x40\x80", (64, 128)), (b"\xff\0", (255, 0)), (bytes(3), (255, 255))],
)
def test_a_palette_and_its_transparency(depth: int, alphas: bytes, expected: tuple[int, int]) -> None:
    extras = (chunk(b"PLTE", b"\x0a\x14\x1e\xc8\xd2\xdc"), chunk(b"tRNS", alphas))
    data = sample_png(PALETTE, depth, [[(0,), (1,)]], *extras)
    assert shown(data) == (10, 20, 30, expected[0])
    assert shown(data, (1, 0)) == (200, 210, 220, expected[1])


def test_a_suggested_palette_costs_nothing() -> None:
    suggested = chunk(b"PLTE", bytes(4)), broken(chunk(b"PLTE", bytes(3)))
    assert [shown(sample_png(RGB, 8, [[(1, 2, 3)]], palette)) for palette in suggested] == [(1, 2, 3, 255)] * 2
