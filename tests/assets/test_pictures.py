import io
import json
import struct
import subprocess
import sys
import time
import tracemalloc
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from tallyframe.assets import pictures
from tallyframe.errors import TallyframeError, TooLarge, UnsupportedMedia, ValidationFailed
from tallyframe.providers.base import Media

SECRET = b"48.2082 16.3738 secret"
FORMATS = ("JPEG", "PNG", "WEBP")
RED, GREEN = (255, 0, 0), (0, 255, 0)
Pixel = tuple[int, ...]


def clean(data: bytes, *, max_bytes: int = 5 * 2**20, max_pixels: int = 40_000_000) -> Media:
    return pictures.clean(data, max_bytes=max_bytes, max_pixels=max_pixels)


def write(image: Image.Image, kind: str, **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format=kind, **options)
    return out.getvalue()


def read(media: Media) -> Image.Image:
    image = Image.open(io.BytesIO(media.data))
    assert media.content_type == f"image/{str(image.format).lower()}"
    assert (media.width, media.height) == image.size
    image.load()
    return image


def pixel(image: Image.Image, at: tuple[int, int] = (0, 0)) -> Pixel:
    found = image.getpixel(at)
    assert isinstance(found, tuple)
    return found


def near(one: Pixel, other: Pixel) -> bool:
    return all(abs(a - b) <= 8 for a, b in zip(one, other, strict=True))


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, *extra: bytes, pixels: bytes = b"") -> bytes:
    """Build a PNG of 1 bit per pixel, with `extra` chunks before the pixels."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")


def full_png(width: int, height: int, *extra: bytes) -> bytes:
    return png(width, height, *extra, pixels=zlib.compress(bytes((1 + (width + 7) // 8) * height)))


def vp8x(width: int, height: int) -> bytes:
    """Build the header of a WebP with a canvas of this size, and nothing on it."""
    body = b"WEBPVP8X" + struct.pack("<I", 10) + bytes(4) + (width - 1).to_bytes(3, "little")
    body += (height - 1).to_bytes(3, "little")
    return b"RIFF" + struct.pack("<I", len(body)) + body


def exif(orientation: int = 1) -> bytes:
    block = Image.Exif()
    block[0x0112] = orientation
    block[0x010E] = SECRET.decode()
    block.get_ifd(0x8825)[2] = (48.0, 12.0, 29.0)
    return block.tobytes()


def swapped_profile() -> bytes:
    """Return sRGB with red and green exchanged, so that a conversion shows."""
    data = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    return data.replace(b"rXYZ", b"?XYZ", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"?XYZ", b"gXYZ", 1)


def text_chunks() -> PngImagePlugin.PngInfo:
    info = PngImagePlugin.PngInfo()
    info.add_text("Comment", SECRET)
    info.add_text("Zipped", SECRET * 20, zip=True)
    info.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    return info


def colours() -> Image.Image:
    image = Image.new("RGB", (24, 16), RED)
    image.paste(GREEN, (0, 0, 8, 8))
    image.paste((0, 0, 255), (16, 8, 24, 16))
    return image


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_comes_back_in_its_own_format_and_looks_the_same(kind: str) -> None:
    result = read(clean(write(colours(), kind, quality=95)))
    assert result.format == kind
    assert near(pixel(result, (2, 2)), GREEN)
    assert near(pixel(result, (12, 12)), RED)


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"exif": exif(), "xmp": SECRET, "comment": SECRET, "icc_profile": swapped_profile()}),
        ("PNG", {"exif": exif(), "pnginfo": text_chunks(), "icc_profile": swapped_profile(), "dpi": (72, 72)}),
        ("WEBP", {"exif": exif(), "xmp": SECRET, "icc_profile": swapped_profile()}),
    ],
)
def test_nothing_but_pixels_is_left(kind: str, options: dict[str, object]) -> None:
    before = write(colours(), kind, **options)
    assert SECRET in before
    media = clean(before + b"PK\x03\x04" + SECRET)  # an archive behind the picture
    assert SECRET not in media.data
    assert b"PK\x03\x04" not in media.data
    result = read(media)
    left = {"exif", "xmp", "XML:com.adobe.xmp", "icc_profile", "comment", "Comment", "Zipped", "dpi"} & set(result.info)
    assert not left
    assert not result.getexif()


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation_is_applied(kind: str, orientation: int) -> None:
    data = write(colours(), kind, exif=exif(orientation), quality=95)
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    result = read(clean(data)).convert("RGB")
    assert result.size == expected.size
    for at in ((2, 2), (result.width - 3, 2), (2, result.height - 3), (result.width - 3, result.height - 3)):
        assert near(pixel(result, at), pixel(expected, at))


@pytest.mark.parametrize(
    "block",
    [b"", b"Exif\0\0", b"Exif\0\0MM\0*\xff\xff\xff\xff", b"Exif\0\0II*\0\x08\0\0\0\xff\xff", exif()[:-20], exif(77)],
)
def test_a_broken_exif_block_is_no_reason_to_refuse_or_to_warn(block: bytes) -> None:
    segment = b"\xff\xe1" + struct.pack(">H", len(block) + 2) + block
    data = write(colours(), "JPEG")
    assert read(clean(data[:2] + segment + data[2:])).size == (24, 16)


@pytest.mark.parametrize("kind", FORMATS)
def test_an_icc_profile_is_converted(kind: str) -> None:
    result = read(clean(write(Image.new("RGB", (8, 8), RED), kind, icc_profile=swapped_profile(), quality=95)))
    assert near(pixel(result), GREEN)


def test_an_icc_profile_keeps_transparency() -> None:
    half = Image.new("RGBA", (8, 8), (*RED, 100))
    assert near(pixel(read(clean(write(half, "PNG", icc_profile=swapped_profile())))), (*GREEN, 100))


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_a_profile_that_is_broken_or_of_another_space_is_dropped(mode: str) -> None:
    for profile in (b"no profile", swapped_profile()[:200]):
        assert read(clean(write(Image.new(mode, (8, 8)), "JPEG", icc_profile=profile))).mode == "RGB"
    grey = read(clean(write(Image.new("L", (8, 8), 200), "JPEG", icc_profile=swapped_profile())))
    assert near(pixel(grey), (200, 200, 200))


@pytest.mark.parametrize(
    ("image", "kind", "expected"),
    [
        (Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG", RED),
        (Image.new("L", (8, 8), 100), "JPEG", (100, 100, 100)),
        (Image.new("1", (8, 8), 1), "PNG", (255, 255, 255)),
        (Image.new("I;16", (8, 8), 32_896), "PNG", (128, 128, 128)),
        (Image.new("LA", (8, 8), (100, 50)), "PNG", (100, 100, 100, 50)),
        (Image.new("RGBA", (8, 8), (*RED, 50)), "PNG", (*RED, 50)),
        (Image.new("RGBA", (8, 8), (*RED, 50)), "WEBP", (*RED, 50)),
        (Image.new("RGB", (8, 8), RED).convert("P"), "PNG", RED),
    ],
    ids=lambda value: getattr(value, "mode", value),
)
def test_every_mode_becomes_8_bit_rgb(image: Image.Image, kind: str, expected: Pixel) -> None:
    result = read(clean(write(image, kind, quality=95)))
    assert result.mode == ("RGBA" if len(expected) == 4 else "RGB")
    assert near(pixel(result), expected)


def test_a_transparent_palette_entry_or_colour_stays_transparent() -> None:
    palette = Image.new("P", (8, 8), 0)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    assert pixel(read(clean(write(palette, "PNG", transparency=0)))) == (*RED, 0)
    assert pixel(read(clean(write(palette, "PNG", transparency=b"\x40\xff")))) == (*RED, 64)
    assert pixel(read(clean(write(Image.new("RGB", (8, 8), RED), "PNG", transparency=RED)))) == (*RED, 0)


@pytest.mark.parametrize("kind", ["PNG", "WEBP"])
def test_of_an_animation_the_first_frame_stays(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), GREEN)]
    result = read(clean(write(Image.new("RGB", (8, 8), RED), kind, save_all=True, append_images=frames)))
    assert getattr(result, "n_frames", 1) == 1
    assert near(pixel(result), RED)


def test_of_several_pictures_in_a_jpeg_the_first_stays() -> None:
    both = write(Image.new("RGB", (8, 8), RED), "MPO", save_all=True, append_images=[Image.new("RGB", (8, 8), GREEN)])
    result = read(clean(both))
    assert result.format == "JPEG"
    assert near(pixel(result), RED)


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

#: Prints the refusal, how long it took in seconds, and by how much the process has grown at most, in KiB.
REFUSE = """
import json, pathlib, sys, time
from tallyframe.assets.pictures import clean
from tallyframe.errors import TooLarge

def peak():
    return next(int(line.split()[1]) for line in open("/proc/self/status") if line.startswith("VmHWM"))

data, before, began = pathlib.Path(sys.argv[1]).read_bytes(), peak(), time.monotonic()
try:
    clean(data, max_bytes=5 * 2**20, max_pixels=40_000_000)
except TooLarge as error:
    print(json.dumps([error.detail, time.monotonic() - began, peak() - before]))
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


@pytest.mark.parametrize("kind", FORMATS)
def test_pillows_own_limit_decides_nothing(kind: str) -> None:
    state = (Image.MAX_IMAGE_PIXELS, list(warnings.filters))
    data = HUGE[kind]()
    if kind == "WEBP":
        pictures._check_size(pictures._webp_canvas(data), 170_000_000)
    else:
        assert pictures._open(kind, data, 170_000_000)[0].size == (13_000, 13_000)  # type: ignore[arg-type]
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


def test_a_profile_bomb_is_refused() -> None:
    bomb = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(32 * 2**20), 9))
    with pytest.raises(ValidationFailed, match="damaged"):
        clean(full_png(8, 8, bomb))


def test_of_many_profiles_one_is_inflated() -> None:
    profile = chunk(b"iCCP", b"icc\0\0" + zlib.compress(bytes(2**20), 9))
    began = time.monotonic()
    clean(full_png(8, 8, *([profile] * 3_000)))
    assert time.monotonic() - began < 1


def test_a_scan_bomb_is_refused_before_decoding() -> None:
    data = write(Image.new("L", (6_000, 6_000), 128), "JPEG", progressive=True)
    scan = data[data.rindex(b"\xff\xda") : -2]
    began = time.monotonic()
    with pytest.raises(ValidationFailed, match=r"has 1,0\d\d scans; at most 64 are accepted"):
        clean(data[:-2] + scan * 1_000 + data[-2:])
    assert time.monotonic() - began < 1


def test_a_thumbnail_inside_the_metadata_counts_for_nothing() -> None:
    thumbnails = write(Image.new("L", (8, 8)), "JPEG") * 80
    data = write(colours(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnails) + 2) + thumbnails
    assert read(clean(data[:2] + segment + data[2:])).size == (24, 16)


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
