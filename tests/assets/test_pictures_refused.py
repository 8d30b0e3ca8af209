import json
import subprocess
import sys
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image

from tallyframe.errors import TallyframeError, TooLarge, UnsupportedMedia, ValidationFailed
from tallyframe.imaging import formats
from tallyframe.imaging.png_colours import MAX_PROFILE
from tests.support.crafted import (
    FORMATS,
    chunk,
    clean,
    colours,
    exif,
    full_png,
    pixel,
    png,
    read,
    swapped_profile,
    vp8x,
    write,
)


@pytest.mark.parametrize(
    "data",
    [b"", b"\x00" * 64, b"<svg xmlns='http://www.w3.org/2000/svg'/>", b"RIFF\x00\x00\x00\x00AVI ", b"%PDF-1.7"]
    + [write(Image.new("RGB", (8, 8)), kind) for kind in ("GIF", "BMP", "TIFF", "ICO", "PPM")],
    ids=range(10),
)
def test_other_formats_are_named_unsupported(data: bytes) -> None:
    with pytest.raises(UnsupportedMedia) as caught:
        clean(data)
    assert caught.value.detail == "Only JPEG, PNG and WebP up to 5 MiB each are accepted."


def test_too_many_bytes() -> None:
    with pytest.raises(TooLarge) as caught:
        clean(bytes(5 * 2**20 + 1))
    assert caught.value.detail == "The picture has 5,242,881 bytes; at most 5,242,880 are accepted."


def test_the_limits_themselves_are_accepted() -> None:
    data = full_png(30_000, 10)
    assert clean(data, max_bytes=len(data), max_pixels=300_000).width == 30_000


@pytest.mark.parametrize("size", [(30_001, 1), (1, 30_001), (0xFFFFFFFF, 0xFFFFFFFF)])
def test_too_long_a_side(size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge, match=r"pixels; at most 30,000 a side are accepted\."):
        clean(png(*size))


HUGE = {
    "PNG": lambda: full_png(13_000, 13_000),
    "WEBP": lambda: vp8x(13_000, 13_000),
    "JPEG": lambda: write(Image.new("L", (8, 8)), "JPEG").replace(b"\x00\x08\x00\x08\x01", b"\x32\xc8\x32\xc8\x01", 1),
}

#: Prints the refusal, how many seconds of a core it took, and by how much the process has grown at most, in KiB.
REFUSE = """
import json, pathlib, sys, time
from tallyframe.assets.pictures import clean
from tallyframe.errors import TooLarge

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

data, before, began = pathlib.Path(sys.argv[1]).read_bytes(), peak(), time.process_time()
try:
    clean(data, max_bytes=5 * 2**20, max_pixels=40_000_000)
except TooLarge as error:
    print(json.dumps([error.detail, time.process_time() - began, peak() - before]))
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads the peak of memory from Linux")
@pytest.mark.parametrize("kind", FORMATS)
def test_169_megapixels_are_refused_from_the_header(kind: str, tmp_path: Path) -> None:
    file = tmp_path / "huge"
    file.write_bytes(HUGE[kind]())
    run = subprocess.run([sys.executable, "-c", REFUSE, str(file)], capture_output=True, check=True)  # peak from zero
    detail, seconds, grown = json.loads(run.stdout)
    assert detail == "The picture has 169.0 megapixels; at most 40.0 are accepted."
    assert seconds < 1
    assert grown < 16 * 1024


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_pillows_own_limit_decides_nothing(kind: formats.Kind) -> None:
    state = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    data = HUGE[kind]()
    assert formats.open_picture(kind, data, 170_000_000).size == (13_000, 13_000)
    assert (Image.MAX_IMAGE_PIXELS, list(warnings.filters)) == state


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("cut", [lambda n: n // 2, lambda _: 30, lambda _: 13])
def test_a_truncated_picture_is_damaged(kind: str, cut: Callable[[int], int]) -> None:
    data = write(Image.effect_noise((200, 200), 80), kind)
    with pytest.raises(ValidationFailed, match=r"picture is damaged or incomplete\.") as caught:
        clean(data[: cut(len(data))])
    assert caught.value.status == 422


@pytest.mark.parametrize(
    "data",
    [
        full_png(0, 10),
        full_png(10, 0),
        b"\x89PNG\r\n\x1a\n",
        png(10, 10),
        b"\xff\xd8\xff",
        b"\xff\xd8" + b"\xff" * 2**20,
        b"RIFF\x04\0\0\0WEBP",
        b"RIFF\x10\0\0\0WEBPXXXX\0\0\0\0",
        vp8x(10, 10),
        write(Image.new("L", (8, 8)), "JPEG").replace(b"\x00\x08\x00\x08\x01", b"\x00\x00\x00\x08\x01", 1),
    ],
    ids=range(10),
)
def test_a_picture_without_pixels_is_damaged(data: bytes) -> None:
    with pytest.raises(ValidationFailed, match="damaged or incomplete"):
        clean(data)


def test_text_bombs_are_never_inflated() -> None:
    packed = zlib.compress(bytes(32 * 2**20), 9)
    bombs = [
        chunk(b"zTXt", b"Comment\0\0" + packed),
        chunk(b"iTXt", b"Comment\0\1\0\0\0" + packed),
        chunk(b"tEXt", b"Comment\0" + bytes(2**20)),
    ]
    data = full_png(8, 8, *(bombs * 4))
    tracemalloc.start()
    try:
        assert read(clean(data, max_bytes=10 * 2**20)).size == (8, 8)
        assert tracemalloc.get_traced_memory()[1] < 8 * 2**20
    finally:
        tracemalloc.stop()


def test_a_profile_bomb_is_dropped_and_takes_little_memory() -> None:
    data = full_png(8, 8, chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(32 * 2**20), 9)))
    tracemalloc.start()
    try:
        assert pixel(read(clean(data))) == (0, 0, 0)
        assert tracemalloc.get_traced_memory()[1] < 3 * MAX_PROFILE
    finally:
        tracemalloc.stop()


def test_of_many_profiles_one_is_inflated() -> None:
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2**20), 9))
    began = time.process_time()
    clean(full_png(8, 8, *([profile] * 3_000)))
    assert time.process_time() - began < 1


def test_a_scan_bomb_is_refused_before_decoding() -> None:
    data = write(Image.new("L", (6_000, 6_000), 128), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    began = time.process_time()
    with pytest.raises(ValidationFailed, match=r"has 1,0\d\d scans; at most 64 are accepted"):
        clean(data[:-2] + scan * 1_000 + data[-2:])
    assert time.process_time() - began < 1


@pytest.mark.parametrize("kind", FORMATS)
def test_damage_anywhere_ends_in_a_picture_or_an_error_of_ours(kind: str) -> None:
    whole = write(colours(), kind, exif=exif(6), icc_profile=swapped_profile())
    for position in range(0, len(whole), 7):
        for value in (0x00, 0xFF):
            data = whole[:position] + bytes([value]) + whole[position + 1 :]
            try:
                clean(data, max_pixels=1_000_000)
            except TallyframeError as error:
                assert error.status in {413, 415, 422}  # noqa: PT017 - either outcome is right
