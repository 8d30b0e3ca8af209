"""What a PNG's chunks say of its colours, in the order in which they count (PNG third edition, 4.3)."""

import struct
import zlib
from collections.abc import Iterator, Mapping
from contextlib import suppress

from tallyframe.imaging.colour import Colour
from tallyframe.imaging.curves import CURVES, power
from tallyframe.imaging.primaries import PRIMARIES
from tallyframe.imaging.spaces import SRGB, Space

#: Bytes of an unpacked profile. Those of cameras and screens have up to 10 kB, those of presses about 1 MB.
MAX_PROFILE = 4 * 2**20

#: gAMA is 100,000 times the exponent of the encoder; libpng takes no others for real, and nor do browsers.
_GAMMAS = range(16, 625_000_001)
#: 1 / 2.2, by 5 % more or less.
_USUAL = range(43_182, 47_727)
_INTENTS = 4  # kinds of intent that sRGB may name


def colours_of(chunks: Mapping[bytes, bytes], depth: int) -> Iterator[Colour]:
    """Yield what the bodies of cICP, iCCP, sRGB, gAMA and cHRM say, what counts most first.

    `depth` is in bits per sample. A chunk that says nothing that is known is passed over, as if it were not there.
    """
    coded = _coded(chunks.get(b"cICP", b""), depth)
    if coded:
        yield coded
    profile = _profile(chunks.get(b"iCCP", b""))
    if profile:
        yield profile
    intent = chunks.get(b"sRGB", b"")
    if len(intent) == 1 and intent[0] < _INTENTS:
        yield SRGB
    elif measured := _measured(chunks.get(b"gAMA", b""), chunks.get(b"cHRM", b"")):
        yield measured


def _coded(body: bytes, depth: int) -> Space | None:
    """Read cICP (11.3.2.6): codes of ITU-T H.273 for primaries, curve and matrix (always RGB), and the range."""
    if len(body) != 4:  # noqa: PLR2004  # as said
        return None
    primaries, curve, matrix, full = body
    if primaries not in PRIMARIES or curve not in CURVES or matrix or full > 1:
        return None
    if full:
        return Space(CURVES[curve], PRIMARIES[primaries])
    levels = 256 - 256 / (1 << max(depth, 8))  # black is 16 and white 235 of 255, or the same of more bits (8.3 there)
    return Space(lambda value: CURVES[curve](min(max((value * levels - 16) / 219, 0.0), 1.0)), PRIMARIES[primaries])


def _profile(body: bytes) -> bytes:
    """Unpack iCCP (11.3.2.3); nothing if it is packed in an unknown way, damaged or larger than `MAX_PROFILE`."""
    _, _, packed = body.partition(b"\0")
    if packed[:1] != b"\0":
        return b""
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(packed[1:], MAX_PROFILE)
    except zlib.error:
        return b""
    return b"" if unpacker.unconsumed_tail else profile


def _measured(gamma: bytes, corners: bytes) -> Space | None:
    """Read gAMA (11.3.2.2) and cHRM (11.3.2.1), which is only known to be right beside a gAMA.

    A gAMA that is about that of every screen says nothing by itself: programs write it beside colours of sRGB.
    """
    given = int.from_bytes(gamma, "big")
    if len(gamma) != 4 or given not in _GAMMAS:  # noqa: PLR2004  # one number
        return None
    curve = power(100_000 / given)
    if len(corners) == 32:  # noqa: PLR2004  # eight numbers
        x_white, y_white, *others = (value / 100_000 for value in struct.unpack(">8I", corners))
        measured = Space(curve, (*others, x_white, y_white))
        with suppress(ZeroDivisionError):
            measured.matrix()
            return measured
    return None if given in _USUAL else Space(curve)
