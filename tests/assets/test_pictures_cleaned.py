import io
import struct

import pytest
from PIL import Image, ImageOps

from tests.support.crafted import (
    FORMATS,
    GREEN,
    RED,
    SECRET,
    Pixel,
    clean,
    colours,
    exif,
    near,
    pixel,
    read,
    swapped_profile,
    text_chunks,
    write,
)


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


def test_a_thumbnail_inside_the_metadata_counts_for_nothing() -> None:
    thumbnails = write(Image.new("L", (8, 8)), "JPEG") * 80
    data = write(colours(), "JPEG")
    segment = b"\xff\xe1" + struct.pack(">H", len(thumbnails) + 2) + thumbnails
    assert read(clean(data[:2] + segment + data[2:])).size == (24, 16)
