"""The chunks of a PNG (third edition): which are read, which are sound, and whether they have all pixels."""

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
#: Colour types (11.2.1), and how many samples a pixel of each has.
GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
CHANNELS = {GREY: 1, RGB: 3, PALETTE: 1, GREY_ALPHA: 2, RGB_ALPHA: 4}

#: What is read. The others are never looked at: text bombs, for instance.
_READ = frozenset(b"IHDR PLTE IDAT tRNS cICP iCCP sRGB gAMA cHRM acTL fcTL fdAT eXIf".split())

_PIECE, _UNPACKED = 2**16, 2**20  # bytes of zlib's stream, and of what comes out of it, at once

#: Of each pass of an interlaced picture, x and y of its first pixel, and the steps to the next (8.1).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def sound_chunks(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Yield kind and body of each chunk up to IEND that is read and whose check sum is right.

    Raises ValueError for a wrong one of a header, of pixels, or of a palette that the picture needs. Where the file
    ends within pixels, those that are there come: the decoder finds out whether they are all.
    """
    start, palette = len(SIGNATURE), False
    while start + 8 <= len(data):
        length, kind = struct.unpack_from(">I4s", data, start)
        end = start + 12 + length  # length, kind, body, check sum
        if kind == b"IEND":
            return
        if kind in _READ:
            body = data[start + 8 : end - 4]
            if (end > len(data) and kind == b"IDAT") or _sum(kind, body) == data[end - 4 : end]:
                palette = palette or (kind == b"IHDR" and body[9:10] == bytes([PALETTE]))
                yield kind, body
            elif kind in {b"IHDR", b"IDAT"} or (kind == b"PLTE" and palette):
                raise ValueError(f"the check sum of {kind!r} is wrong")
        start = end


def _sum(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", zlib.crc32(body, zlib.crc32(kind)))


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk (PNG third edition, 5.3): its length, kind, body and check sum."""
    return struct.pack(">I", len(body)) + kind + body + _sum(kind, body)


def is_whole(packed: bytes, wanted: int) -> bool:
    """Say whether at least `wanted` bytes come out of zlib's stream. Raises zlib.error if it is damaged.

    A decoder would not tell: it leaves the rows black for which there is nothing.
    """
    unpacker = zlib.decompressobj()
    for start in range(0, len(packed), _PIECE):
        piece = packed[start : start + _PIECE]
        while wanted > 0 and piece and not unpacker.eof:
            wanted -= len(unpacker.decompress(piece, _UNPACKED))
            piece = unpacker.unconsumed_tail
    return wanted <= 0


def size_of_pixels(size: tuple[int, int], bits: int, *, interlaced: bool) -> int:
    """Return how many bytes the pixels of a picture have, with the filter's byte in front of each row (7.2 and 8.1).

    `bits` is that of a pixel.
    """
    width, height = size
    passes = _ADAM7 if interlaced else ((0, 0, 1, 1),)
    sizes = ((-((x - width) // right), -((y - height) // down)) for x, y, right, down in passes)
    return sum((1 + (columns * bits + 7) // 8) * rows for columns, rows in sizes if columns > 0)
