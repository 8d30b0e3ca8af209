"""WebP: the chunks that the first frame is made of, its profile and orientation, and whether it is lossless."""

import struct
from collections.abc import Iterator
from io import BytesIO

from PIL import Image
from PIL.WebPImagePlugin import WebPImageFile

from tallyframe.imaging.colour import Samples
from tallyframe.imaging.exif import orientation

_ANIMATED, _ALPHA = 0x02, 0x10  # flags of VP8X (RFC 9649, 2.7)
_FRAME_HEADER = 16  # bytes in front of a frame's own chunks (RFC 9649, 2.7.1.1)


class WebpPicture:
    """A WebP whose header is read, and whose pixels are not. Raises ValueError if it starts with no picture.

    `size` is width and height of the canvas in pixels, `orientation` the EXIF one, 1 to 8.
    """

    def __init__(self, data: bytes) -> None:
        self.size = canvas_of(data)
        self._chunks, self._profile, exif, flags = list[bytes](), b"", b"", 0
        for kind, body, chunk in chunks_of(data):
            kinds = [known[:4] for known in self._chunks]
            if not kinds and kind == b"VP8X":
                flags = body[0] & (_ANIMATED | _ALPHA)
                self._chunks.append(chunk[:8] + bytes([flags]) + bytes(3) + body[4:])
            elif kind in ({b"ANIM", b"ANMF"} if flags & _ANIMATED else {b"ALPH", b"VP8 ", b"VP8L"}):
                self._chunks += [] if kind in kinds or {b"VP8 ", b"VP8L"} & set(kinds) else [chunk]
            elif kind == b"ICCP" and kinds:
                self._profile = self._profile or body
            elif kind == b"EXIF" and kinds:
                exif = exif or body
        self.orientation = orientation(exif)

    @property
    def detail(self) -> dict[str, object]:
        """What the encoder has to be told: a picture that is lossless has to stay so."""
        starts = [chunk[8 + _FRAME_HEADER :][:4] if chunk[:4] == b"ANMF" else chunk[:4] for chunk in self._chunks]
        return {"lossless": True, "quality": 20, "exact": True} if b"VP8L" in starts else {}

    def pixels(self) -> Image.Image:
        """Decode the first frame, as RGB or RGBA in sRGB. Raises whatever Pillow raises if data is missing.

        The decoder takes 8 bytes per pixel as soon as it is made.
        """
        body = b"WEBP" + b"".join(self._chunks)
        decoder = WebPImageFile(BytesIO(b"RIFF" + struct.pack("<I", len(body)) + body))
        image = decoder.copy()
        del decoder  # it keeps 12 bytes per pixel
        return Samples(image).to_srgb([self._profile] if self._profile else [])


def chunks_of(data: bytes) -> Iterator[tuple[bytes, bytes, bytes]]:
    """Yield kind, body and all of each chunk (RFC 9649, 2.3). The size in the file's header makes no difference."""
    position = 12
    while position + 8 <= len(data):
        kind, size = struct.unpack_from("<4sI", data, position)
        end = position + 8 + size
        yield kind, data[position + 8 : end], data[position:end] + bytes(size % 2)
        position = end + size % 2


def canvas_of(data: bytes) -> tuple[int, int]:
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
