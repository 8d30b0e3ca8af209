"""Opens JPEG, PNG and WebP pictures from outside, and shows the decoders only what pixels are made of.

The decoders are called by class and not through `Image.open`: that one looks formats up in a registry that any import
can extend, hands some JPEGs to the MPO plugin, and warns of large pictures where they have to be refused.
"""

import re
import struct
from collections.abc import Iterator
from io import BytesIO
from typing import Literal

from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from tallyframe.errors import TooLarge, ValidationFailed

Kind = Literal["JPEG", "PNG", "WEBP"]

#: What a provider or a browser could still handle, in pixels; JPEG ends at 65,535 and WebP at 16,383 anyway.
MAX_SIDE = 30_000

#: A JPEG's decoder walks over all pixels once per scan, and an empty scan takes a few bytes. Encoders write about 10.
_MAX_SCANS = 64

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: The chunks (PNG 3rd edition, section 11) that pixels are made of. The others are not decoded: text bombs, animations.
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"IDAT", b"IEND"})

#: A JPEG marker that has a length (ITU-T T.81, B.1.1.3): neither a stuffed byte, TEM, RST0 to RST7 nor SOI.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
_EOI, _SOS, _APP1, _APP2 = 0xD9, 0xDA, 0xE1, 0xE2
#: Frames and Huffman tables, quantization, lines, restarts; JFIF (APP0) and Adobe (APP14) say what the channels mean.
_JPEG_KEPT = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xE0, 0xEE} - {0xC8})

_ORIENTATION, _SHORT = 0x0112, 3  # an EXIF tag (CIPA DC-008, 4.6.4) and the type of its value
_UNCHANGED = 1


def kind_of(data: bytes) -> Kind | None:
    """Return the format by the first bytes, None for any other than these three."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(_PNG_SIGNATURE):
        return "PNG"
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def open_picture(kind: Kind, data: bytes, max_pixels: int) -> tuple[ImageFile, int]:
    """Return the picture, its pixels not decoded yet, and its EXIF orientation (1 to 8).

    Raises TooLarge for more than `max_pixels` pixels, or `MAX_SIDE` a side, and whatever a decoder raises.
    """
    if kind == "JPEG":
        image, exif = _open_jpeg(data)
    elif kind == "PNG":
        image, exif = _open_png(data)
    else:
        check_size(webp_canvas(data), max_pixels)  # first: the decoder allocates 8 bytes per pixel when it is made
        image = WebPImageFile(BytesIO(data))
        exif = image.info.get("exif", b"")
    check_size(image.size, max_pixels)
    return image, _orientation(exif)


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise TooLarge if a picture of that width and height, in pixels, is too large."""
    width, height = size
    if max(size) > MAX_SIDE:
        raise TooLarge(f"The picture is {width:,} x {height:,} pixels; at most {MAX_SIDE:,} a side are accepted.")
    if width * height > max_pixels:
        found, most = width * height / 1e6, max_pixels / 1e6
        raise TooLarge(f"The picture has {found:.1f} megapixels; at most {most:.1f} are accepted.")


def _open_jpeg(data: bytes) -> tuple[ImageFile, bytes]:
    """Open the segments that pixels are made of: others could name a second picture, or make Pillow warn."""
    kept, exif, scans = [data[:2]], b"", 0
    for marker, start, end in _jpeg_segments(data):
        body = data[start + 4 : end]
        if marker == _SOS:
            kept += [] if scans else [data[start:]]
            scans += 1
        elif not scans and (marker in _JPEG_KEPT or (marker == _APP2 and body.startswith(b"ICC_PROFILE\0"))):
            kept.append(data[start:end])
        elif marker == _APP1 and body.startswith(b"Exif\0\0"):
            exif = exif or body
    if scans > _MAX_SCANS:
        raise ValidationFailed(f"This JPEG picture has {scans:,} scans; at most {_MAX_SCANS} are accepted.")
    return JpegImageFile(BytesIO(b"".join(kept))), exif


def _jpeg_segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of each segment. What stands between them, such as a scan's data, is passed over."""
    position = 2
    while (match := _JPEG_MARKER.search(data, position)) and match[1][0] != _EOI:
        position = match.end() + max(2, int.from_bytes(data[match.end() : match.end() + 2], "big"))
        yield match[1][0], match.start(), position


def _open_png(data: bytes) -> tuple[ImageFile, bytes]:
    """Open the chunks that pixels are made of, and only the first profile: each one costs its decompression."""
    kept, exif, profiles = [_PNG_SIGNATURE], b"", 0
    start = len(_PNG_SIGNATURE)
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + length + 12  # length, type, data, check sum
        profiles += kind == b"iCCP"
        if kind in _PNG_KEPT and not (kind == b"iCCP" and profiles > 1):
            kept.append(data[start:end])
        elif kind == b"eXIf":
            exif = exif or data[start + 8 : end - 4]
        start = end
    return PngImageFile(BytesIO(b"".join(kept))), exif


def webp_canvas(data: bytes) -> tuple[int, int]:
    """Return width and height in pixels, from the first chunk (RFC 9649, 2.5 to 2.7; RFC 6386, 9.1 for VP8)."""
    kind = data[12:16]
    if kind == b"VP8X":
        return int.from_bytes(data[24:27], "little") + 1, int.from_bytes(data[27:30], "little") + 1
    bits = int.from_bytes(data[21:25] if kind == b"VP8L" else data[26:30], "little")
    if kind == b"VP8L":
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8 ":
        return bits & 0x3FFF, bits >> 16 & 0x3FFF
    raise ValueError(f"no WebP picture starts with a chunk {kind!r}")


def _orientation(exif: bytes) -> int:
    """Return tag 0x0112 of the first directory (TIFF 6.0, section 2), 1 if there is none or the block is broken.

    Pillow's own reader warns of broken blocks, and a warning is process-wide.
    """
    block = exif.removeprefix(b"Exif\0\0")
    order = ">" if block[:2] == b"MM" else "<"
    try:
        (directory,) = struct.unpack_from(f"{order}I", block, 4)
        (count,) = struct.unpack_from(f"{order}H", block, directory)
        for index in range(count):
            tag, kind, _, value = struct.unpack_from(f"{order}HHIH", block, directory + 2 + 12 * index)
            if (tag, kind) == (_ORIENTATION, _SHORT):
                return int(value)
    except struct.error:
        return _UNCHANGED
    return _UNCHANGED
