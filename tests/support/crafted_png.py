"""PNGs of any colour type and depth, written sample by sample."""

import struct
import zlib
from collections.abc import Sequence

from tests.support.crafted import Pixel, chunk

GREY, RGB, PALETTE, GREY_ALPHA, RGB_ALPHA = 0, 2, 3, 4, 6
#: x and y of the first pixel of each pass of an interlaced picture, and the steps (PNG third edition, 8.1).
_ADAM7 = ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2))


def sample_png(
    colour_type: int, depth: int, rows: Sequence[Sequence[Pixel]], *extra: bytes, interlaced: bool = False
) -> bytes:
    """Build a PNG of these samples, with `extra` chunks before the pixels."""
    return png_around(
        header(len(rows[0]), len(rows), depth, colour_type, interlaced=interlaced),
        *extra,
        idat(rows, depth, interlaced=interlaced),
    )


def png_around(*chunks: bytes) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks) + chunk(b"IEND", b"")


def header(width: int, height: int, depth: int, colour_type: int, *, interlaced: bool = False) -> bytes:
    return chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour_type, 0, 0, interlaced))


def idat(rows: Sequence[Sequence[Pixel]], depth: int, *, interlaced: bool = False) -> bytes:
    return chunk(b"IDAT", packed(rows, depth, interlaced=interlaced))


def packed(rows: Sequence[Sequence[Pixel]], depth: int, *, interlaced: bool = False) -> bytes:
    """Return the samples as the pixels of a PNG are packed."""
    passes = [[line[x::right] for line in rows[y::down]] for x, y, right, down in _ADAM7] if interlaced else [rows]
    lines = [line for lines in passes for line in lines if line]
    return zlib.compress(b"".join(b"\0" + _line(line, depth) for line in lines))


def broken(part: bytes) -> bytes:
    """Return a chunk with a wrong check sum."""
    return part[:-1] + bytes([part[-1] ^ 1])


def _line(line: Sequence[Pixel], depth: int) -> bytes:
    bits = "".join(format(sample, f"0{depth}b") for pixel in line for sample in pixel)
    bits += "0" * (-len(bits) % 8)
    return int(bits, 2).to_bytes(len(bits) // 8)
