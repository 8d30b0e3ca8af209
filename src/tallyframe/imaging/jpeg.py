"""JPEG: the segments that pixels are made of, its profile and orientation, and whether the picture is whole."""

import re
from collections.abc import Iterator
from io import BytesIO

from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile

from tallyframe.errors import ValidationFailed
from tallyframe.imaging.colour import Samples
from tallyframe.imaging.exif import orientation

#: A JPEG's decoder walks over all pixels once per scan, and an empty scan takes a few bytes. Encoders write about 10.
_MAX_SCANS = 64

#: A JPEG marker that has a length (ITU-T T.81, B.1.1.3), or EOI: neither a stuffed byte, TEM, RST0 to RST7 nor SOI.
_MARKER = re.compile(rb"\xff([^\x00\x01\xd0-\xd8\xff])", re.DOTALL)
_CUT_MARKER = re.compile(rb"\xff[^\x00\xff]\Z", re.DOTALL)
_RST0, _EOI, _SOS, _APP0, _APP1, _APP2, _APP14 = 0xD0, 0xD9, 0xDA, 0xE0, 0xE1, 0xE2, 0xEE
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = frozenset({0xC2, 0xC6, 0xCA, 0xCE})
#: Frames and Huffman tables, arithmetic coding, quantization, lines, restarts.
_KEPT = frozenset({*range(0xC0, 0xD0), 0xDB, 0xDC, 0xDD} - {0xC8})

#: What a decoder asks of JFIF (APP0; its part 10.1) and Adobe (APP14; T.872, 6.5.3): that it is there, and how long.
_JFIF, _JFIF_BYTES = b"JFIF\0", 14
_ADOBE, _ADOBE_BYTES = b"Adobe", 12
_PLAIN_JFIF = b"\xff\xe0\x00\x10JFIF\0\1\1\0\0\1\0\1\0\0"
_ICC = b"ICC_PROFILE\0"

_END = b"\xff\xd9"
#: Data that a decoder shows if it still asks for some. The zero makes data of a single 0xFF in front of it.
_FILLER = b"\0" + bytes(37 * index * index % 127 for index in range(4_096))


class JpegPicture:
    """A JPEG whose header is read, and whose pixels are not. Raises whatever Pillow raises over the header.

    `size` is width and height in pixels as they are stored, `orientation` the EXIF one, 1 to 8.
    """

    def __init__(self, data: bytes) -> None:
        self._header, self._scans, self._ended = [data[:2]], b"", False
        self._frame, self._passes, self._profile, self._parts = (0, b""), list[bytes](), dict[int, bytes](), 0
        exif = b""
        for marker, start, end in segments(data):
            body = data[start + 4 : end]
            if marker == _SOS:
                self._scans = self._scans or data[start:]
                self._passes += [body] if end <= len(data) else []
            elif marker == _EOI:
                self._ended = True
            elif marker == _APP1 and body.startswith(b"Exif\0\0"):
                exif = exif or body
            elif not self._passes:
                self._keep(marker, body, data[start:end])
        if len(self._passes) > _MAX_SCANS:
            found = f"{len(self._passes):,}"
            raise ValidationFailed(f"This JPEG picture has {found} scans; at most {_MAX_SCANS} are accepted.")
        self.orientation = orientation(exif)
        self._image = self._open()
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
        """Decode the picture, as RGB in sRGB. Raises ValueError if data is missing, and whatever Pillow raises.

        A picture without EOI is whole if what follows its data makes no difference to its pixels.
        """
        image: Image.Image = self._image
        image.load()
        if not self._ended:
            if not self._has_all_scans():
                raise ValueError("scans are missing")
            other = self._open(filled=True)
            other.load()
            if ImageChops.difference(image, other).getbbox():
                raise ValueError("the data of the last scan is cut")
        parts = [self._profile.get(number, b"") for number in range(1, self._parts + 1)]
        return Samples(image).to_srgb([b"".join(parts)] if parts and all(parts) else [])

    def _has_all_scans(self) -> bool:
        """Say whether the scans have all components, a progressive picture's also all bits of all coefficients."""
        marker, frame = self._frame
        wanted = {
            (component, at)
            for component in frame[6 : 6 + 3 * frame[5] : 3]
            for at in range(64 if marker in _PROGRESSIVE else 1)
        }
        for scan in self._passes:
            count = scan[0]
            first, last, bits = scan[1 + 2 * count : 4 + 2 * count]
            if bits & 15 == 0:  # the lowest bit comes in this scan
                wanted -= {(part, at) for part in scan[1 : 1 + 2 * count : 2] for at in range(first, last + 1)}
        return not wanted

    def _open(self, *, filled: bool = False) -> JpegImageFile:
        """Open the kept segments and the scans, if need be with an end, and `filled` up in front of that."""
        scans, end = self._scans, b""
        if not self._ended:
            scans = _CUT_MARKER.sub(b"", scans)
            end = _END
        if filled:
            last = max(range(8), key=lambda turn: scans.rfind(bytes([0xFF, _RST0 + turn])))
            next_one = last + 1 if bytes([0xFF, _RST0 + last]) in scans else 0
            restarts = (bytes([0xFF, _RST0 + (next_one + turn) % 8]) for turn in range(8))
            end = b"".join([_FILLER, *(restart + _FILLER[1:] for restart in restarts), _END])
        return JpegImageFile(BytesIO(b"".join([*self._header, scans, end])))


def segments(data: bytes) -> Iterator[tuple[int, int, int]]:
    """Yield (marker, start, end) of each segment up to EOI. What stands between is passed over, as a scan's data."""
    position = 2
    while match := _MARKER.search(data, position):
        position = match.end() + max(2, int.from_bytes(data[match.end() : match.end() + 2], "big"))
        yield match[1][0], match.start(), position
        if match[1][0] == _EOI:
            return
