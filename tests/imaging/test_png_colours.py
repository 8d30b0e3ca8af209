"""What a PNG says of its colours: cICP, else iCCP, else sRGB, else gAMA with cHRM; what is odd counts as not there."""

import struct
import zlib

import pytest
from PIL import Image, ImageCms

from tallyframe.imaging.png_colours import MAX_PROFILE
from tests.support.crafted import Pixel, chunk, clean, pixel, read, swapped_profile
from tests.support.crafted_png import GREY, GREY_ALPHA, PALETTE, RGB, RGB_ALPHA, broken, sample_png

LINEAR = chunk(b"gAMA", struct.pack(">I", 100_000))
SRGB = chunk(b"sRGB", b"\0")
ICC = chunk(b"iCCP", b"icc\0\0" + zlib.compress(swapped_profile()))
P3 = bytes([12, 13, 0, 1])
#: White, red, green and blue of BT.2020.
WIDE = struct.pack(">8I", 31_270, 32_900, 70_800, 29_200, 17_000, 79_700, 13_100, 4_600)


def shown(data: bytes, at: tuple[int, int] = (0, 0)) -> Pixel:
    return pixel(read(clean(data)), at)


def near(one: Pixel, other: Pixel, by: int = 2) -> bool:
    return all(abs(a - b) <= by for a, b in zip(one, other, strict=True))


def gamma(value: int) -> bytes:
    return chunk(b"gAMA", struct.pack(">I", value))


def cicp(*codes: int) -> bytes:
    return chunk(b"cICP", bytes(codes))


@pytest.mark.parametrize("interlaced", [False, True])
@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("colour_type", [GREY, RGB, GREY_ALPHA, RGB_ALPHA])
def test_linear_light_in_any_type(colour_type: int, depth: int, *, interlaced: bool) -> None:
    most, colours = (1 << depth) - 1, (1, 3)[colour_type in {RGB, RGB_ALPHA}]
    samples = (most // 5,) * colours + ((most // 3,) if colour_type in {GREY_ALPHA, RGB_ALPHA} else ())
    found = shown(sample_png(colour_type, depth, [[samples] * 9] * 9, LINEAR, interlaced=interlaced), (8, 8))
    assert near(found, (124, 124, 124, 85)[: 4 if colour_type in {GREY_ALPHA, RGB_ALPHA} else 3])


@pytest.mark.parametrize("depth", [2, 4, 8])
def test_linear_light_in_a_palette(depth: int) -> None:
    palette, alphas = chunk(b"PLTE", bytes([51, 85, 170])), chunk(b"tRNS", b"\x33")
    assert near(shown(sample_png(PALETTE, depth, [[(0,)]], LINEAR, palette, alphas)), (124, 156, 213, 51))


def test_the_dark_of_sixteen_bits_is_not_lost() -> None:
    assert near(shown(sample_png(RGB, 16, [[(30, 60, 120)]], LINEAR)), (2, 3, 6))
    assert near(shown(sample_png(GREY, 16, [[(655,)]], LINEAR)), (25, 25, 25))


@pytest.mark.parametrize(
    ("value", "expected"), [(45_455, 51), (43_500, 51), (30_000, 15), (55_000, 65), (200_000, 178)]
)
def test_a_gamma_alone_is_applied_unless_it_is_that_of_every_screen(value: int, expected: int) -> None:
    assert near(shown(sample_png(RGB, 8, [[(51, 51, 51)]], gamma(value))), (expected,) * 3)


@pytest.mark.parametrize("body", [b"", bytes(4), b"\0\0\0\x0f", b"\xff\xff\xff\xff", struct.pack(">II", 1, 1)])
def test_an_impossible_gamma_is_dropped(body: bytes) -> None:
    assert shown(sample_png(RGB, 8, [[(51, 51, 51)]], chunk(b"gAMA", body))) == (51, 51, 51)


def test_measured_primaries_count_beside_a_gamma() -> None:
    pixels = [[(200, 100, 50)]]
    expected = (243, 75, 21)
    assert near(shown(sample_png(RGB, 8, pixels, gamma(45_455), chunk(b"cHRM", WIDE))), expected, 3)
    deep = [[(200 * 257, 100 * 257, 50 * 257)]]
    assert near(shown(sample_png(RGB, 16, deep, gamma(45_455), chunk(b"cHRM", WIDE))), expected, 3)
    assert shown(sample_png(RGB, 8, pixels, chunk(b"cHRM", WIDE))) == (200, 100, 50)


@pytest.mark.parametrize(
    "body", [b"", WIDE[:-1], bytes(32), struct.pack(">8I", 31_270, 32_900, *(30_000,) * 6), WIDE[:4] + bytes(28)]
)
def test_impossible_primaries_are_dropped(body: bytes) -> None:
    assert near(shown(sample_png(RGB, 8, [[(51, 85, 170)]], LINEAR, chunk(b"cHRM", body))), (124, 156, 213))


def test_white_and_grey_stay_neutral_whatever_the_white_point() -> None:
    warm = struct.pack(">8I", 34_567, 35_850, 64_000, 33_000, 30_000, 60_000, 15_000, 6_000)
    found = shown(sample_png(RGB, 8, [[(51, 51, 51)]], LINEAR, chunk(b"cHRM", warm)))
    assert near(found, (124, 124, 124))


@pytest.mark.parametrize(
    ("chunks", "expected"),
    [
        ((cicp(*P3), ICC, SRGB, LINEAR), (209, 0, 0)),  # P3's (191, 0, 0)
        ((ICC, SRGB, LINEAR), (0, 191, 0)),
        ((SRGB, LINEAR), (191, 0, 0)),
        ((LINEAR,), (225, 0, 0)),
        ((LINEAR, SRGB, ICC, cicp(*P3)), (209, 0, 0)),
        ((broken(cicp(*P3)), ICC, SRGB, LINEAR), (0, 191, 0)),
        ((cicp(12, 13, 1, 1), ICC), (0, 191, 0)),
        ((cicp(12, 2, 0, 1), ICC), (0, 191, 0)),
        ((cicp(2, 13, 0, 1), ICC), (0, 191, 0)),
        ((cicp(12, 13, 0), ICC), (0, 191, 0)),
        ((broken(ICC), SRGB, LINEAR), (191, 0, 0)),
        ((chunk(b"iCCP", b"icc\0\0" + zlib.compress(b"no profile")), LINEAR), (225, 0, 0)),
        ((chunk(b"iCCP", b"icc\0\1" + zlib.compress(swapped_profile())), LINEAR), (225, 0, 0)),
        ((chunk(b"iCCP", b"icc\0\0no zlib"), LINEAR), (225, 0, 0)),
        ((chunk(b"iCCP", b"icc"), LINEAR), (225, 0, 0)),
        ((chunk(b"iCCP", b""), LINEAR), (225, 0, 0)),
        ((broken(SRGB), LINEAR), (225, 0, 0)),
        ((chunk(b"sRGB", b"\x09"), LINEAR), (225, 0, 0)),
        ((broken(LINEAR),), (191, 0, 0)),
        ((LINEAR, gamma(45_455)), (225, 0, 0)),
    ],
    ids=range(20),
)
def test_the_first_that_can_be_used_counts(chunks: tuple[bytes, ...], expected: Pixel) -> None:
    assert near(shown(sample_png(RGB, 8, [[(191, 0, 0)]], *chunks)), expected)


@pytest.mark.parametrize("size", [1_300_000, MAX_PROFILE - 4_000])
def test_a_large_profile_is_used(size: int) -> None:
    profile = swapped_profile() + bytes(size)
    profile = struct.pack(">I", len(profile)) + profile[4:]
    packed = chunk(b"iCCP", b"icc\0\0" + zlib.compress(profile))
    assert near(shown(sample_png(RGB, 8, [[(191, 0, 0)]], packed)), (0, 191, 0))


def test_a_chunk_after_the_pixels_is_dropped() -> None:
    data = sample_png(RGB, 8, [[(191, 0, 0)]])
    assert shown(data[:-12] + LINEAR + data[-12:]) == (191, 0, 0)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize(
    ("codes", "coded", "expected"),
    [
        ((1, 13, 0, 1), (0.2, 0.4, 0.6), (51, 102, 153)),  # sRGB
        ((12, 13, 0, 1), (0.8, 0.4, 0.2), (219, 94, 31)),  # Display P3
        ((9, 13, 0, 1), (0.5, 0.5, 0.5), (128, 128, 128)),  # BT.2020's white is that of sRGB
        ((9, 1, 0, 1), (0.5, 0.5, 0.5), (139, 139, 139)),  # the curve of BT.709
        ((9, 16, 0, 1), (0.5807, 0.5807, 0.5807), (255, 255, 255)),  # PQ: 203 cd/m²
        ((9, 16, 0, 1), (0.75, 0.75, 0.75), (255, 255, 255)),  # brighter
        ((9, 16, 0, 1), (0.4278, 0.4278, 0.4278), (128, 128, 128)),  # 43.8 cd/m²
        ((9, 18, 0, 1), (0.75, 0.75, 0.75), (255, 255, 255)),  # HLG: reference white
        ((9, 18, 0, 1), (0.38, 0.38, 0.38), (101, 101, 101)),
        ((1, 8, 0, 1), (0.2, 0.2, 0.2), (124, 124, 124)),  # linear
        ((1, 4, 0, 1), (0.0, 1.0, 0.5), (0, 255, 128)),  # 2.2
    ],
    ids=range(11),
)
def test_coded_spaces(depth: int, codes: tuple[int, ...], coded: tuple[float, ...], expected: Pixel) -> None:
    samples = tuple(round(value * ((1 << depth) - 1)) for value in coded)
    assert near(shown(sample_png(RGB, depth, [[samples]], cicp(*codes))), expected, 3)


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("kind", [RGB, GREY])
def test_a_narrow_range_is_stretched(depth: int, kind: int) -> None:
    levels = {16: 0, 235: 255, 126: 128, 0: 0, 255: 255}
    row = [(level << (depth - 8),) * (3 if kind == RGB else 1) for level in levels]
    found = read(clean(sample_png(kind, depth, [row], cicp(1, 13, 0, 0))))
    for x, expected in enumerate(levels.values()):
        assert near(pixel(found, (x, 0)), (expected,) * 3)


def grey_profile() -> bytes:
    """Return a profile of grey in linear light."""
    white = b"XYZ " + bytes(4) + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)
    tone = b"curv" + bytes(8)
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, 12)
    head = struct.pack(">I4xI", 188, 0x02100000) + b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28)
    return head + struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D) + bytes(48) + tags + white + tone


@pytest.mark.parametrize("depth", [8, 16])
def test_a_grey_profile_is_for_the_grey_and_leaves_alpha(depth: int) -> None:
    packed, level, trns = chunk(b"iCCP", b"g\0\0" + zlib.compress(grey_profile())), 51 * (1, 257)[depth == 16], b"tRNS"
    expected = (124, 124, 124)
    assert near(shown(sample_png(GREY, depth, [[(level,)]], packed)), expected)
    assert near(shown(sample_png(GREY_ALPHA, depth, [[(level, level)]], packed)), (*expected, 51))
    key = chunk(trns, struct.pack(">H", level))
    assert near(shown(sample_png(GREY, depth, [[(level,)]], packed, key)), (*expected, 0))
    assert shown(sample_png(RGB, depth, [[(level,) * 3]], packed)) == (51, 51, 51)  # it says nothing of colours


def test_a_grey_profile_is_exact_in_the_dark() -> None:
    packed = chunk(b"iCCP", b"g\0\0" + zlib.compress(grey_profile()))
    for depth, scale in ((8, 1), (16, 257)):
        found = read(clean(sample_png(GREY, depth, [[(level * scale,) for level in (0, 1, 2, 3, 5)]], packed)))
        assert [pixel(found, (x, 0))[0] for x in range(5)] == [0, 13, 22, 28, 38]
    assert near(shown(sample_png(GREY, 16, [[(100,)]], packed)), (5, 5, 5), 1)


def test_grey_may_have_a_profile_for_colours() -> None:
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    packed = chunk(b"iCCP", b"icc\0\0" + zlib.compress(data))
    for kind, samples in ((GREY, (77,)), (GREY_ALPHA, (77, 255))):
        assert near(shown(sample_png(kind, 8, [[samples]], packed))[:3], (77, 77, 77))


def test_strips_meet(monkeypatch: pytest.MonkeyPatch) -> None:
    """A large picture is converted some rows at a time."""
    monkeypatch.setattr("tallyframe.imaging.colour._STRIP", 10)
    rows = [[(x * 40, y * 40, 128) for x in range(4)] for y in range(6)]
    found = read(clean(sample_png(RGB, 8, rows, cicp(*P3))))
    monkeypatch.undo()
    assert found.tobytes() == read(clean(sample_png(RGB, 8, rows, cicp(*P3)))).tobytes()
    assert isinstance(found, Image.Image)
