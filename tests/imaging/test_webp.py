"""WebPs whose chunks are odd or cut, and those that are lossless."""

import io
import struct

import pytest
from PIL import Image

from tallyframe.errors import ValidationFailed
from tests.support.crafted import GREEN, RED, clean, colours, near, pixel, read, swapped_profile, write

NOISE = Image.merge("RGB", [Image.effect_noise((40, 30), sigma) for sigma in (90, 70, 50)])


def is_lossless(data: bytes) -> bool:
    return b"VP8L" in data[:64]


def chunk(kind: bytes, body: bytes) -> bytes:
    return kind + struct.pack("<I", len(body)) + body + bytes(len(body) % 2)


def webp(*chunks: bytes) -> bytes:
    body = b"WEBP" + b"".join(chunks)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def canvas(width: int, height: int, flags: int) -> bytes:
    size = (width - 1).to_bytes(3, "little") + (height - 1).to_bytes(3, "little")
    return chunk(b"VP8X", bytes([flags, 0, 0, 0]) + size)


def test_lossless_stays_lossless() -> None:
    alpha = NOISE.copy()
    alpha.putalpha(Image.effect_noise((40, 30), 80))
    for image in (NOISE, alpha, Image.new("RGBA", (8, 8), (9, 99, 199, 0))):
        cleaned = clean(write(image, "WEBP", lossless=True, exact=True))
        assert is_lossless(cleaned.data)
        assert read(cleaned).tobytes() == image.tobytes()


def test_lossy_stays_lossy() -> None:
    see_through = Image.new("RGBA", (8, 8), (*RED, 50))
    assert not any(is_lossless(clean(write(image, "WEBP", quality=90)).data) for image in (NOISE, see_through))


def test_a_lossless_picture_with_a_profile_or_in_a_film_stays_lossless() -> None:
    profiled = clean(write(Image.new("RGB", (8, 8), RED), "WEBP", lossless=True, icc_profile=swapped_profile()))
    assert is_lossless(profiled.data)
    assert near(pixel(read(profiled)), GREEN)
    film = write(NOISE, "WEBP", lossless=True, save_all=True, append_images=[colours().resize((40, 30))])
    assert b"ANMF" in film
    assert is_lossless(clean(film).data)
    assert read(clean(film)).convert("RGB").tobytes() == NOISE.tobytes()


LOSSY = write(NOISE, "WEBP", quality=90)[12:]
LOSSLESS = write(NOISE, "WEBP", lossless=True)[12:]


@pytest.mark.parametrize("flags", [0, 0x20, 0x08, 0x04, 0x2C, 0xC1])
@pytest.mark.parametrize(
    "extra", [(b"ICCP", b""), (b"ICCP", b"none"), (b"EXIF", b""), (b"EXIF", b"\xff" * 9), (b"XMP ", b"<")]
)
def test_an_odd_extra_costs_nothing(flags: int, extra: tuple[bytes, bytes]) -> None:
    for whole in (LOSSY, LOSSLESS):
        plain = read(clean(webp(whole))).tobytes()
        before = webp(canvas(40, 30, flags), chunk(*extra), whole)
        after = webp(canvas(40, 30, flags), whole, chunk(*extra))
        assert [read(clean(data)).tobytes() for data in (before, after)] == [plain, plain]


def test_a_cut_or_unknown_end_costs_nothing() -> None:
    plain = read(clean(webp(LOSSY))).tobytes()
    long = webp(canvas(40, 30, 0x08), LOSSY, chunk(b"EXIF", bytes(99)))
    for cut in (1, 50, 99, 103, 106, 107):
        assert read(clean(long[:-cut])).tobytes() == plain
    for data in (webp(LOSSY) + b"rest", webp(LOSSY, b"rest"), webp(LOSSY, chunk(b"new ", b"x")), webp(LOSSY, LOSSLESS)):
        assert read(clean(data)).tobytes() == plain
    wrong_size = b"RIFF" + bytes(4) + webp(LOSSY)[8:]
    assert read(clean(wrong_size)).tobytes() == plain


@pytest.mark.parametrize("options", [{"quality": 90}, {"lossless": True}])
def test_half_a_picture_is_refused(options: dict[str, object]) -> None:
    see_through = NOISE.copy()
    see_through.putalpha(Image.effect_noise((40, 30), 80))
    still = write(NOISE, "WEBP", **options)
    film = write(NOISE, "WEBP", save_all=True, append_images=[colours().resize((40, 30))], **options)
    for data, share in ((still, 0.5), (still, 0.9), (write(see_through, "WEBP", **options), 0.7), (film, 0.4)):
        with pytest.raises(ValidationFailed, match="damaged or incomplete"):
            clean(data[: round(len(data) * share)])


def test_a_film_whose_end_is_cut_has_its_first_frame() -> None:
    film = write(NOISE, "WEBP", save_all=True, lossless=True, append_images=[colours().resize((40, 30))])
    second = film.index(b"ANMF", film.index(b"ANMF") + 4)
    for data in (film[: second + 20], film[:second], film[:-3]):
        assert read(clean(data)).convert("RGB").tobytes() == NOISE.tobytes()


def test_a_first_frame_that_is_smaller_than_the_canvas_is_where_it_belongs() -> None:
    head = struct.pack("<I", 1)[:3] + struct.pack("<I", 1)[:3] + bytes([39, 0, 0, 29, 0, 0]) + bytes(4)
    film = webp(canvas(60, 50, 0x12), chunk(b"ANIM", bytes(6)), chunk(b"ANMF", head + LOSSLESS))
    image = read(clean(film))
    assert (image.size, pixel(image), pixel(image, (50, 40))) == ((60, 50), (0, 0, 0, 0), (0, 0, 0, 0))
    assert image.crop((2, 2, 42, 32)).convert("RGB").tobytes() == NOISE.tobytes()
    assert io.BytesIO(clean(film).data).read(4) == b"RIFF"
