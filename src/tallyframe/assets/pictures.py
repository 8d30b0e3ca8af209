"""Cleans pictures from outside: known by content, bounded by their header, written anew without what they carried.

Only re-encoding makes a file that is a picture and nothing else (OWASP ASVS 5.0, 5.2.2); a right signature in front
does not stop a file from being a script or an archive as well.

The decoders are called by class and not through `Image.open`: that one looks formats up in a registry any import can
extend, hands some JPEGs to the MPO plugin, and warns about large pictures, which is no defence and no refusal.
"""

import re
import struct
from collections.abc import Callable, Iterator
from io import BytesIO
from typing import Literal

from PIL import Image, ImageCms
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from tallyframe.errors import TallyframeError, TooLarge, UnsupportedMedia, ValidationFailed
from tallyframe.providers.base import Media

Kind = Literal["JPEG", "PNG", "WEBP"]

#: What a provider or a browser could still handle, in pixels; JPEG ends at 65,535 and WebP at 16,383 anyway.
MAX_SIDE = 30_000

#: A JPEG's decoder walks over all pixels once per scan, and an empty scan takes a few bytes. Encoders write about 10.
_MAX_SCANS = 64

_NAMES: dict[Kind, str] = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP"}
_SAVE: dict[Kind, dict[str, int]] = {"JPEG": {"quality": 92}, "PNG": {"compress_level": 6}, "WEBP": {"quality": 92}}

_PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: The chunks (PNG 3rd edition, section 11) that pixels are made of. Text bombs and animations end here, unread.
_PNG_KEPT = frozenset({b"IHDR", b"PLTE", b"tRNS", b"iCCP", b"IDAT", b"IEND"})

#: A JPEG marker that has a length (ITU-T T.81, B.1.1.3): neither a stuffed byte, TEM, RST0 to RST7 nor SOI.
_JPEG_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
_EOI, _SOS, _APP1, _APP2 = 0xD9, 0xDA, 0xE1, 0xE2
#: Frames and Huffman tables, quantization, lines, restarts; JFIF (APP0) and Adobe (APP14) say what the channels mean.
_JPEG_KEPT = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD, 0xE0, 0xEE} - {0xC8})

#: EXIF tag 0x0112 (CIPA DC-008, 4.6.4) -> what brings the picture upright.
_ORIENTATION, _SHORT = 0x0112, 3
_AS_IT_IS = 1
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def clean(data: bytes, *, max_bytes: int, max_pixels: int) -> Media:
    """Return the picture in `data` re-encoded in its own format: upright, 8 bits, sRGB, the first frame, no metadata.

    JPEG, PNG and WebP are known by content. Transparency stays. What comes out can be larger than `max_bytes`, which
    bounds only what comes in. CPU-bound, about 12 bytes of memory per pixel, WebP 20: call it in a thread.

    Raises TooLarge for more than `max_bytes` bytes, `max_pixels` pixels or `MAX_SIDE` pixels a side, the last two from
    the header and before any pixel is decoded; UnsupportedMedia for other formats; ValidationFailed for a damaged file.
    """
    if len(data) > max_bytes:
        raise TooLarge(f"The picture has {len(data):,} bytes; at most {max_bytes:,} are accepted.")
    kind = _kind(data)
    if kind is None:
        raise UnsupportedMedia(f"Only JPEG, PNG and WebP up to {max_bytes / 2**20:g} MiB each are accepted.")
    try:
        return _encode(_srgb(*_open(kind, data, max_pixels)), kind)
    except (TallyframeError, MemoryError):
        raise
    except Exception as error:  # whatever a decoder raises over hostile bytes, it means the same to the user
        raise ValidationFailed(f"This {_NAMES[kind]} picture is damaged or incomplete.") from error


def _kind(data: bytes) -> Kind | None:
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(_PNG_SIGNATURE):
        return "PNG"
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def _open(kind: Kind, data: bytes, max_pixels: int) -> tuple[Image.Image, int]:
    """Return the picture, its pixels not decoded yet, and its EXIF orientation. The size is checked."""
    image, exif = _OPEN[kind](data, max_pixels)
    _check_size(image.size, max_pixels)
    return image, _orientation(exif)


def _check_size(size: tuple[int, int], max_pixels: int) -> None:
    width, height = size
    if max(size) > MAX_SIDE:
        raise TooLarge(f"The picture is {width:,} x {height:,} pixels; at most {MAX_SIDE:,} a side are accepted.")
    if width * height > max_pixels:
        found, most = width * height / 1e6, max_pixels / 1e6
        raise TooLarge(f"The picture has {found:.1f} megapixels; at most {most:.1f} are accepted.")


def _open_jpeg(data: bytes, _max_pixels: int) -> tuple[ImageFile, bytes]:
    """Open only what decides on pixels: other segments could name a second picture, or make Pillow warn."""
    kept, exif, scans = [data[:2]], b"", 0
    for marker, start, end in _jpeg_segments(data):
        body = data[start + 4 : end]
        if marker == _SOS:
            kept += [] if scans else [data[start:]]
            scans += 1
        elif not scans and _makes_pixels(marker, body):
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


def _makes_pixels(marker: int, body: bytes) -> bool:
    return marker in _JPEG_KEPT or (marker == _APP2 and body.startswith(b"ICC_PROFILE\0"))


def _open_png(data: bytes, _max_pixels: int) -> tuple[ImageFile, bytes]:
    """Open only the chunks that pixels are made of, and the first profile: each one costs its decompression."""
    kept, exif, profiles = [_PNG_SIGNATURE], b"", 0
    for kind, start, end in _png_chunks(data):
        profiles += kind == b"iCCP"
        if kind in _PNG_KEPT and not (kind == b"iCCP" and profiles > 1):
            kept.append(data[start:end])
        elif kind == b"eXIf":
            exif = exif or data[start + 8 : end - 4]
    return PngImageFile(BytesIO(b"".join(kept))), exif


def _png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield (type, start, end) of each chunk: length, type, data, check sum."""
    start = len(_PNG_SIGNATURE)
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        yield kind, start, start + length + 12
        start += length + 12


def _open_webp(data: bytes, max_pixels: int) -> tuple[ImageFile, bytes]:
    """Open after a look at the canvas, because the decoder allocates 8 bytes for each of its pixels when it is made."""
    _check_size(_webp_canvas(data), max_pixels)
    image = WebPImageFile(BytesIO(data))
    return image, image.info.get("exif", b"")


def _webp_canvas(data: bytes) -> tuple[int, int]:
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


_OPEN: dict[Kind, Callable[[bytes, int], tuple[ImageFile, bytes]]] = {
    "JPEG": _open_jpeg,
    "PNG": _open_png,
    "WEBP": _open_webp,
}


def _orientation(exif: bytes) -> int:
    """Return tag 0x0112 of the first directory (TIFF 6.0, section 2), 1 if there is none or the block is broken.

    Pillow's own reader warns about broken blocks, and a warning is process-wide.
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
        return _AS_IT_IS
    return _AS_IT_IS


def _srgb(image: Image.Image, orientation: int) -> Image.Image:
    """Decode, and return the picture upright in sRGB, as RGB or RGBA."""
    image.load()  # the first frame; fails here when data is missing
    profile = image.info.get("icc_profile")
    image = _convert(image, profile) if profile else _flat(image)
    turn = _UPRIGHT.get(orientation)
    return image if turn is None else image.transpose(turn)


def _flat(image: Image.Image) -> Image.Image:
    """Return `image` as RGB, or as RGBA if any of it can be transparent."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode.startswith("I"):  # 16 bits; convert() would cut off at 255 instead of scaling
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image if image.mode in {"RGB", "RGBA"} else image.convert("RGB")


def _convert(image: Image.Image, profile: bytes) -> Image.Image:
    """Move colours from the ICC `profile` to sRGB. A profile that can't be used is dropped."""
    colours = image if image.mode in {"L", "CMYK"} and not image.has_transparency_data else _flat(image)
    mode = "RGBA" if colours.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        converted = ImageCms.profileToProfile(colours, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return _flat(colours)
    return converted or _flat(colours)


def _encode(image: Image.Image, kind: Kind) -> Media:
    image.info.clear()  # the writers would otherwise put comments, profiles and resolutions back
    out = BytesIO()
    image.save(out, format=kind, **_SAVE[kind])
    return Media(out.getvalue(), f"image/{kind.lower()}", image.width, image.height)
