"""JPEGs that miss data though they have an end: something else stands in its place. Whole ones are never refused."""

from collections.abc import Callable
from typing import Any

import pytest
from PIL import Image

from tallyframe.errors import ProviderError, ValidationFailed
from tallyframe.imaging import jpeg_end
from tallyframe.providers.received import received_image
from tests.support.crafted import clean, read, write

END = b"\xff\xd9"
SMOOTH = Image.merge("RGB", [Image.effect_noise((24, 16), sigma) for sigma in (90, 70, 50)]).resize((96, 64))
IMAGES = {"smooth": SMOOTH, "grey": SMOOTH.convert("L"), "print": SMOOTH.convert("CMYK")}
KINDS: dict[str, dict[str, Any]] = {
    "baseline": {},
    "finest": {"quality": 100, "subsampling": 0},
    "wide": {"subsampling": 1},
    "progressive": {"progressive": True},
    "optimized": {"optimize": True},
    "restarts": {"restart_marker_rows": 1},
}
#: What may stand where the rest of the data was; the number is how many bytes that are.
PLACES: dict[str, Callable[[int], bytes]] = {
    "nothing": lambda _: b"",
    "end": lambda _: END,
    "zeros": bytes,
    "zeros, end": lambda size: bytes(size) + END,
    "many zeros": lambda size: bytes(9 * size + 5_000),
    "many zeros, end": lambda size: bytes(9 * size + 5_000) + END,
    "end, rest": lambda size: END + b"\x55" * size,
}
each_kind = pytest.mark.parametrize("kind", KINDS)
each_image = pytest.mark.parametrize("image", IMAGES.values(), ids=IMAGES)


def start_of(data: bytes) -> int:
    """Return where the data of the last scan starts."""
    at = data.rindex(b"\xff\xda")
    return at + 2 + int.from_bytes(data[at + 2 : at + 4], "big")


def pixels(data: bytes) -> bytes:
    return read(clean(data)).tobytes()


def refused(data: bytes) -> bool:
    try:
        clean(data)
    except ValidationFailed as error:
        return "damaged or incomplete" in error.detail
    return False


def separate(*images: Image.Image) -> bytes:
    """Return a JPEG of three components, each in a scan of its own, of three of one."""
    files = [write(image, "JPEG") for image in images]
    tables, frame = files[0][: files[0].index(b"\xff\xc0")], files[0].index(b"\xff\xc0")
    size, huffman = files[0][frame + 5 : frame + 9], files[0][frame + 13 : files[0].index(b"\xff\xda")]
    header = b"\xff\xc0\0\x11\x08" + size + b"\3\1\x11\0\2\x11\0\3\x11\0"
    scans = (
        b"\xff\xda\0\x08\1" + bytes([n, 0, 0, 63, 0]) + file[start_of(file) : -2] for n, file in enumerate(files, 1)
    )
    return b"".join([tables, header, huffman, *scans, END])


@each_kind
@each_image
@pytest.mark.parametrize("place", PLACES)
def test_half_a_picture_is_refused_whatever_stands_in_its_place(place: str, image: Image.Image, kind: str) -> None:
    data = write(image, "JPEG", **KINDS[kind])
    for share in (0.5, 0.8):
        cut = round(data.index(b"\xff\xda") + 14 + share * (len(data) - data.index(b"\xff\xda") - 14))
        assert refused(data[:cut] + PLACES[place](len(data) - cut)), (share, cut)


@each_kind
def test_a_single_wrong_block_is_seen(kind: str) -> None:
    for image in (SMOOTH, IMAGES["grey"]):
        data = write(image, "JPEG", **KINDS[kind])
        for missing in (3, 4, 6, 9):
            assert refused(data[: -2 - missing]), missing
            assert refused(data[: -2 - missing] + END), missing


@each_kind
@each_image
def test_a_whole_picture_may_end_as_it_likes(kind: str, image: Image.Image) -> None:
    data = write(image, "JPEG", **KINDS[kind])
    whole = pixels(data)
    for end in (b"", b"\xff", bytes(500), bytes(500) + END, b"\xff\xff\xff" + END, END + b"PK\3\4" * 99, b"ab" * 99):
        assert pixels(data[:-2] + end) == whole, end[:4]


@pytest.mark.parametrize("side", [8, 16, 48])
def test_one_colour_is_coded_as_zeros_at_times(side: int) -> None:
    for level in (0, 90, 128, 255):
        data = write(Image.new("L", (side, side), level), "JPEG", optimize=True)
        bare = data[:-2]
        assert {pixels(end) for end in (data, bare, bare + bytes(500), bare + bytes(500) + END)} == {pixels(data)}


def test_scans_of_one_component_each() -> None:
    grey = IMAGES["grey"]
    for last in (grey, Image.new("L", grey.size, 128)):
        data = separate(grey, grey, last)
        whole = pixels(data)
        for end in (b"", bytes(500), bytes(500) + END):
            assert pixels(data[:-2] + end) == whole
        cut = (data.rindex(b"\xff\xda") + len(data)) // 2 if last is grey else data.rindex(b"\xff\xda")
        assert refused(data[:cut])
        assert refused(data[:cut] + END)


@each_kind
@each_image
def test_a_large_picture_is_decoded_once(kind: str, image: Image.Image, monkeypatch: pytest.MonkeyPatch) -> None:
    data = write(image, "JPEG", **KINDS[kind])
    whole = pixels(data)
    monkeypatch.setattr(jpeg_end, "_TWICE", 0)
    assert refused(data[: len(data) * 2 // 3] + END)
    assert refused(data[: len(data) * 2 // 3] + bytes(len(data)) + END)
    monkeypatch.delattr(jpeg_end.Coded, "_change")
    assert pixels(data) == whole
    assert pixels(data[:-2] + b"ab" * 99 + END) == whole


def test_a_large_picture_cut_at_a_restart_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jpeg_end, "_TWICE", 0)
    for kind in ({}, {"progressive": True}):
        data = write(SMOOTH, "JPEG", restart_marker_rows=1, **kind)
        restarts = [at for at in range(start_of(data), len(data)) if data[at] == 0xFF and 0xD0 <= data[at + 1] < 0xD8]
        assert restarts
        for at in restarts:
            for cut in (at - 1, at, at + 1, at + 2):
                assert refused(data[:cut] + END), cut
        assert pixels(data)


def test_a_scan_header_may_be_odd_where_it_says_nothing() -> None:
    data = write(SMOOTH, "JPEG")
    assert data[start_of(data) - 3 : start_of(data)] == b"\0\x3f\0"
    odd = data[: start_of(data) - 3] + b"\7\7\7" + data[start_of(data) :]
    assert pixels(odd) == pixels(data)


def test_a_vendor_has_to_order_half_a_picture_again() -> None:
    data = write(SMOOTH, "JPEG")
    assert received_image(data).data == data
    for place in PLACES.values():
        with pytest.raises(ProviderError, match="no usable result") as raised:
            received_image(data[: len(data) // 2] + place(len(data) // 2))
        assert raised.value.retryable
        assert "is damaged" in raised.value.operator_message
