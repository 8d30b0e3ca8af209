"""JPEG: the segments that pixels are made of, its profile and orientation, and whether the picture is whole."""

import re
from collections.abc import Iterator

from PIL import Image

from tallyframe.errors import ValidationFailed
from tallyframe.imaging.colour import Samples
from tallyframe.imaging.exif import orientation
from tallyframe.imaging.jpeg_end import Coded, has_all_scans

#: A JPEG's decoder walks over all pixels once per scan, and an empty scan takes a few bytes. Encoders write about 10.
_MAX_SCANS = 64

#: A JPEG marker that has a length (ITU-T T.81, B.1.1.3), or EOI: neither a stuffed byte, TEM, RST0 to RST7 nor SOI.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
_CUT_RESTART = re.compile(rb"\xff[\x01\xd0-\xd8]\Z")
_EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
#: Frames and Huffman tables, arithmetic coding, quantization, lines, restarts.
_KEPT = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD} - {0xC8})

#: What a decoder asks of JFIF (APP0; its part 10.1) and Adobe (APP14; T.872, 6.5.3): that it is there, and how long.
_JFIF, _JFIF_BYTES = b"JFIF\0", 14
_ADOBE, _ADOBE_BYTES = b"Adobe", 12
_PLAIN_JFIF = b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_ICC = b"ICC_PROFILE\0"


class JpegPicture:
    """A JPEG whose header is read, and whose pixels are not. Raises whatever Pillow raises over the header.

    `size` is width and height in pixels as they are stored, `orientation` the EXIF one, 1 to 8.
    """

    def __init__(self, data: bytes) -> None:
        self._header, self._frame, self._passes = [data[:2]], (0, b""), list[bytes]()
        self._profile, self._parts = dict[int, bytes](), 0
        exif, ended, first, start, stop = b"", False, 0, 0, len(data)
        for marker, at, end in segments(data):
            body = data[at + 4 : end]
            stop = at if stop == len(data) and self._passes else stop
            if marker == _SOS:
                if end <= len(data):
                    self._passes.append(body)
                    first, start, stop = first or at, end, len(data)
            elif marker == _EOI:
                ended = True
            elif marker == _APP1 and body.startswith(b"Exif\0\0"):
                exif = exif or body
            elif not self._passes:
                self._keep(marker, body, data[at:end])
        if len(self._passes) > _MAX_SCANS:
            found = f"{len(self._passes):,}"
            raise ValidationFailed(f"This JPEG picture has {found} scans; at most {_MAX_SCANS} are accepted.")
        if not self._passes:
            raise ValueError("no scan")
        self.orientation = orientation(exif)
        scans = _CUT_RESTART.sub(b"", data[first:stop])
        self._coded = Coded(b"".join(self._header), scans, self._frame[0], start - first, ended=ended)
        self._image = self._coded.opened()
        self.size = self._image.size

    def _keep(self, marker: int, body: bytes, segment: bytes) -> None:
        """Keep a segment before the first scan if it says something of the pixels; odd ones stay out."""
        if marker in _KEPT:
            self._header.append(segment)
            self._frame = (marker, body) if marker in _FRAMES else self._frame
        elif marker == _APP0 and body.startswith(_JFIF) and len(body) >= _JFIF_BYTES:
            self._header.append(_PLAIN_JFIF)
        elif marker == _APP14 and body.startswith(_ADOBE) and len(body) >= _ADOBE_BYTES:
            self._header.append(b"\xff\xee\x00\x0e" + body[:_ADOBE_BYTES])
        elif marker == _APP2 and body.startswith(_ICC) and len(body) > len(_ICC) + 2:
            number, self._parts = body[len(_ICC)], body[len(_ICC) + 1]
            self._profile.setdefault(number, body[len(_ICC) + 2 :])

    @property
    def detail(self) -> dict[str, int]:
        """What the encoder has to be told: whether colours have as many samples as brightness."""
        layers = self._image.layer
        halved = len(layers) == 3 and layers[0][1:3] == (2, 2) and {layer[1:3] for layer in layers[1:]} == {(1, 1)}  # noqa: PLR2004
        return {"subsampling": 2 if halved or len(layers) == 1 else 0}

    def pixels(self) -> Image.Image:
        """Decode the picture, as RGB in sRGB. Raises ValueError if data is missing, and whatever Pillow raises."""
        if not has_all_scans(*self._frame, self._passes):
            raise ValueError("scans are missing")
        image = self._coded.decoded()
        parts = [self._profile.get(number, b"") for number in range(1, self._parts + 1)]
        return Samples(image).to_srgb([b"".join(parts)] if parts and all(parts) else [])


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of each segment up to EOI. What stands between is passed over, as a scan's data."""
    position = 2
    while match := _MARKER.search(data, position):
        position = match.end() + max(2, int.from_bytes(data[match.end() : match.end() + 2], "big"))
        yield match[1][0], match.start(), position
        if match[1][0] == _EOI:
            return
