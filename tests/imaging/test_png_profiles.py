"""PNGs of 16 bits per sample with an ICC profile: curves and a matrix are applied to all bits."""

import struct
import zlib
from collections.abc import Callable
from itertools import product

import pytest
from PIL import ImageCms

from tallyframe.imaging.curves import to_srgb_curve
from tests.support.crafted import Pixel, chunk, clean, pixel, read
from tests.support.crafted_png import GREY, GREY_ALPHA, RGB, RGB_ALPHA, sample_png

#: Colours of sRGB's red, green and blue in XYZ under D50, and those of Display P3.
SRGB = ((0.4361, 0.2225, 0.0139), (0.3851, 0.7169, 0.0971), (0.1431, 0.0606, 0.7141))
P3 = ((0.5151, 0.2412, -0.0011), (0.2920, 0.6922, 0.0419), (0.1571, 0.0666, 0.7841))
Colorants = tuple[tuple[float, ...], ...]


def power(exponent: float) -> bytes:
    """Return a curve by its exponent."""
    if exponent == 1:
        return b"curv" + bytes(8)
    return b"para" + bytes(8) + struct.pack(">i", round(exponent * 65_536))


def sampled(exponent: float) -> bytes:
    values = [round(65_535 * (index / 1_023) ** exponent) for index in range(1_024)]
    return b"curv" + bytes(4) + struct.pack(">I1024H", 1_024, *values)


def profile(curves: list[bytes], colorants: Colorants = SRGB, tables: bytes = b"") -> bytes:
    """Return a profile of RGB as an iCCP chunk; with `tables`, it has these as well (A2B0)."""
    points = [b"XYZ " + bytes(4) + struct.pack(">3i", *(round(65_536 * value) for value in xyz)) for xyz in colorants]
    white = b"XYZ " + bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    names = (b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"A2B0")
    tags = [(name, body) for name, body in zip(names, [white, *points, *curves, tables], strict=True) if body]
    table, bodies, start = struct.pack(">I", len(tags)), b"", 132 + 12 * len(tags)
    for name, body in tags:
        table += name + struct.pack(">II", start + len(bodies), len(body))
        bodies += body + bytes(-len(body) % 4)
    head = bytes(4) + b"\2\x40\0\0mntrRGB XYZ " + bytes(12) + b"acsp" + bytes(28) + white[8:] + bytes(48)
    data = struct.pack(">I", start + len(bodies)) + head + table + bodies
    return chunk(b"iCCP", b"icc\0\0" + zlib.compress(data))


def shown(data: bytes, at: tuple[int, int] = (0, 0)) -> Pixel:
    return pixel(read(clean(data)), at)


def near(one: Pixel, other: Pixel, by: int = 1) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


LINEAR = profile([power(1)] * 3)


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("colour_type", [RGB, RGB_ALPHA, GREY, GREY_ALPHA])
def test_the_dark_of_linear_light_is_not_lost(colour_type: int, *, interlaced: bool) -> None:
    colours, alpha = (1, 3)[colour_type in {RGB, RGB_ALPHA}], colour_type in {GREY_ALPHA, RGB_ALPHA}
    rows = [[(level,) * colours + ((0x8000,) if alpha else ()) for level in (16, 64, 200, 600, 13_107, 65_535)]]
    found = read(clean(sample_png(colour_type, 16, rows, LINEAR, interlaced=interlaced)))
    for x, expected in enumerate((1, 3, 10, 24, 124, 255)):
        assert near(pixel(found, (x, 0)), (*(expected,) * 3, 128)[: 4 if alpha else 3])


def test_a_transparent_colour_beside_a_profile() -> None:
    key = chunk(b"tRNS", struct.pack(">3H", 600, 600, 600))
    found = read(clean(sample_png(RGB, 16, [[(600,) * 3, (601,) * 3]], LINEAR, key)))
    assert near(pixel(found, (0, 0)), (24, 24, 24, 0))
    assert near(pixel(found, (1, 0)), (24, 24, 24, 255))


@pytest.mark.parametrize("curve", [power, sampled])
def test_each_channel_has_its_own_curve(curve: Callable[[float], bytes]) -> None:
    made = profile([curve(1), curve(1.8), curve(2.6)])
    for level in (900, 5_000, 30_000, 60_000):
        lights = [(level / 65_535) ** exponent for exponent in (1, 1.8, 2.6)]
        expected = tuple(round(255 * to_srgb_curve(light)) for light in lights)
        assert near(shown(sample_png(RGB, 16, [[(level,) * 3]], made)), expected)


@pytest.mark.parametrize("samples", [(40_000, 20_000, 9_000), (65_535, 0, 0), (0, 65_535, 0), (1, 2, 50_000)])
def test_primaries_count_as_in_eight_bits(samples: Pixel) -> None:
    made = profile([power(2.2)] * 3, P3)
    rounded = tuple(round(level / 257) for level in samples)
    wide, narrow = (
        shown(sample_png(RGB, 16, [[tuple(level * 257 for level in rounded)]], made)),
        shown(sample_png(RGB, 8, [[rounded]], made)),
    )
    assert near(wide, narrow, 2)


def test_a_broken_profile_leaves_all_bits_to_what_comes_next() -> None:
    gamma = chunk(b"gAMA", struct.pack(">I", 100_000))
    for curves in ([b"curv"] * 3, [b"nope" + bytes(20)] * 3, [b"para" + bytes(4) + b"\0\x63" + bytes(9)] * 3):
        assert near(shown(sample_png(RGB, 16, [[(200,) * 3]], profile(curves), gamma)), (10, 10, 10))
    for kept in (0, 16, 24, 100, 130, 134, 250):
        body = zlib.compress(zlib.decompress(LINEAR[8 + 5 : -4])[:kept])
        cut = chunk(b"iCCP", b"icc\0\0" + body)
        assert near(shown(sample_png(RGB, 16, [[(200,) * 3]], cut, gamma)), (10, 10, 10))


def test_tables_count_more_than_curves() -> None:
    """The tables exchange red and green, which the curves and the matrix don't."""
    grid = b""
    for red, green, blue in product((0, 1), repeat=3):
        light = (green * r + red * g + blue * b for r, g, b in zip(*SRGB, strict=True))
        grid += struct.pack(">3H", *(round(0x8000 * value) for value in light))
    unit = struct.pack(">9i", *(65_536 * (index % 4 == 0) for index in range(9)))
    ramp = struct.pack(">2H", 0, 65_535) * 3
    tables = b"mft2" + bytes(4) + b"\3\3\2\0" + unit + struct.pack(">2H", 2, 2) + ramp + grid + ramp
    for depth in (8, 16):
        samples = tuple(level * (1, 257)[depth == 16] for level in (51, 0, 0))
        found = shown(sample_png(RGB, depth, [[samples]], profile([power(1)] * 3, SRGB, tables)))
        assert near(found, (0, 124, 0), 6)


def test_an_srgb_profile_changes_nothing() -> None:
    body = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    made = chunk(b"iCCP", b"icc\0\0" + zlib.compress(body))
    rows = [[(level * 257, 65_535 - level * 257, 3 * level * 257 % 65_536) for level in range(0, 256, 5)]]
    image = read(clean(sample_png(RGB, 16, rows, made)))
    for x, samples in enumerate(rows[0]):
        assert near(pixel(image, (x, 0)), tuple(level // 257 for level in samples))
