"""PNG: the chunks that the first frame is made of, its samples at their own depth, and its orientation.

Pillow gets to see a file of these chunks only. What it can't read is a reason to refuse the picture; of the other
chunks (ancillary ones: PNG third edition, 5.4), those that are damaged or odd count as not there, as in browsers.
"""

import struct
import zlib
from typing import NamedTuple

from PIL import Image

from tallyframe.imaging.colour import asks_for_all_bits
from tallyframe.imaging.exif import orientation
from tallyframe.imaging.png_chunks import (
    CHANNELS,
    GREY,
    PALETTE,
    RGB,
    SIGNATURE,
    chunk,
    is_whole,
    size_of_pixels,
    sound_chunks,
)
from tallyframe.imaging.png_colours import colours_of
from tallyframe.imaging.png_samples import WIDE, samples_of, wide_samples_of
from tallyframe.imaging.spaces import SRGB


class _Frame(NamedTuple):
    """The frame control chunk (PNG third edition, 11.3.6.2), without what comes after the first frame is shown."""

    number: int
    width: int
    height: int
    left: int
    top: int


class PngPicture:
    """A PNG whose header is read, and whose pixels are not. Raises ValueError for damage that costs pixels.

    `size` is width and height of the canvas in pixels, `orientation` the EXIF one, 1 to 8.
    """

    detail: dict[str, object] = {}  # noqa: RUF012  # every PNG is lossless

    def __init__(self, data: bytes) -> None:
        self._found, self._pixels = dict[bytes, bytes](), list[bytes]()
        self._frame, self._frame_pixels = _Frame(0, 0, 0, 0, 0), list[bytes]()
        self._hidden, controls = False, 0
        for kind, body in sound_chunks(data):
            if kind == b"IDAT":
                self._pixels.append(body)
            elif kind == b"fcTL":
                controls += 1
                if controls == 1 and len(body) >= 20:  # noqa: PLR2004  # five numbers
                    self._frame, self._hidden = _Frame._make(struct.unpack_from(">5I", body)), bool(self._pixels)
            elif kind == b"fdAT":
                self._frame_pixels += [body[4:]] if controls == 1 else []
            elif kind == b"eXIf" or not self._pixels:
                self._found.setdefault(kind, body)
        self._header = self._found.get(b"IHDR", b"")
        width, height, self._depth, self._type = struct.unpack_from(">IIBB", self._header)
        self.size = (width, height)
        self.orientation = orientation(self._found.get(b"eXIf", b""))

    def pixels(self) -> Image.Image:
        """Decode the first frame, as RGB or RGBA in sRGB. Raises ValueError, or what Pillow raises, if data is missing.

        The image of an animation that is not one of its frames is for readers that show none; so it stands in for a
        frame that can't be decoded.
        """
        if self._animated():
            try:
                image = self._decoded((self._frame.width, self._frame.height), self._frame_pixels)
            except (OSError, SyntaxError, ValueError, zlib.error):
                return self._decoded(self.size, self._pixels)
            if image.size == self.size:
                return image
            canvas = Image.new("RGBA", self.size)
            canvas.paste(image, (self._frame.left, self._frame.top))
            return canvas
        return self._decoded(self.size, self._pixels)

    def _animated(self) -> bool:
        """Say whether the first frame is another image than that for readers without animations."""
        _, width, height, left, top = self._frame
        fits = 0 < width <= self.size[0] - left and 0 < height <= self.size[1] - top
        frames = int.from_bytes(self._found.get(b"acTL", b"")[:4], "big")
        return self._hidden and fits and frames > 0 and bool(self._frame_pixels)

    def _decoded(self, size: tuple[int, int], pixels: list[bytes]) -> Image.Image:
        colours = list(colours_of(self._found, self._depth))
        key = self._key()
        needs_all = key is not None or (colours[:1] != [SRGB] and any(map(asks_for_all_bits, colours)))
        file = self._file(size, pixels)
        samples = wide_samples_of(file, self._type, all_bits=needs_all) if self._depth == WIDE else samples_of(file)
        if key is not None:
            samples.key_out(key)
        return samples.to_srgb(colours)

    def _key(self) -> list[int] | None:
        """Return the transparent colour (PNG third edition, 11.3.2.1), one value per channel, as samples have it."""
        found = self._found.get(b"tRNS", b"")
        channels = CHANNELS[self._type]
        if self._type not in {GREY, RGB} or len(found) != 2 * channels:
            return None
        most = (1 << self._depth) - 1
        scale = 255 // most or 1  # what Pillow multiplies samples of less than 8 bits by
        return [(value & most) * scale for value in struct.unpack(f">{channels}H", found)]

    def _file(self, size: tuple[int, int], pixels: list[bytes]) -> bytes:
        """Return a PNG of this size with these pixels; a palette and its transparency go along."""
        extras = b""
        if self._type == PALETTE:
            palette, alphas = self._found.get(b"PLTE", b""), self._found.get(b"tRNS", b"")
            if not palette or len(palette) % 3:
                raise ValueError("no palette")
            extras = chunk(b"PLTE", palette)
            if 0 < len(alphas) <= len(palette) // 3:
                extras += chunk(b"tRNS", alphas)
        packed, bits = b"".join(pixels), self._depth * CHANNELS[self._type]
        if not is_whole(packed, size_of_pixels(size, bits, interlaced=self._header[12] > 0)):
            raise ValueError("rows are missing")
        header = chunk(b"IHDR", struct.pack(">II", *size) + self._header[8:13])
        return b"".join([SIGNATURE, header, extras, chunk(b"IDAT", packed), chunk(b"IEND", b"")])
