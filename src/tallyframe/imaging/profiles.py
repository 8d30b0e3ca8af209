"""ICC profiles of RGB made of a curve for each channel and a matrix (ICC.1:2022, 8.3.3), for samples of 16 bits.

Pillow has lcms convert RGB with 8 bits per sample only, and in linear light 8 bits leave nothing of the dark.
"""

import struct
from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageCms

from tallyframe.imaging.primaries import Vector, from_pcs

_STEPS = 65_536
_HEADER, _ENTRY = 128, 12  # bytes of a profile in front of its table of tags, and of a tag in it (7.2 and 7.3)
#: Tables that lcms prefers to curves and a matrix.
_TABLES = frozenset({b"A2B0", b"D2B0"})
_D50 = struct.pack(">3I", 0xF6D6, 0x10000, 0xD32D)  # 7.2.16


@dataclass(frozen=True, slots=True)
class MatrixProfile:
    """The bodies of the tags rTRC, gTRC and bTRC, and the colours of the channels at their brightest, in XYZ."""

    curves: tuple[bytes, ...]
    colorants: list[Vector]

    def lights(self) -> list[list[int]]:
        """Return the light, 0 to 65,535, of as many coded values, for red, green and blue. Raises what ImageCms raises.

        lcms reads each curve, and is exact: it converts from grey with that curve to grey in linear light.
        """
        ramp = Image.frombytes("I;16", (256, 256), struct.pack(f"<{_STEPS}H", *range(_STEPS)))
        linear, exact, found = _grey(b"curv" + bytes(8)), ImageCms.Flags.NOOPTIMIZE, dict[bytes, list[int]]()
        for curve in set(self.curves):
            light = ImageCms.buildTransform(_grey(curve), linear, ramp.mode, ramp.mode, flags=exact).apply(ramp)
            found[curve] = list(struct.unpack(f"<{_STEPS}H", light.tobytes()))
        return [found[curve] for curve in self.curves]

    def matrix(self) -> list[Vector]:
        """Return the rows that turn linear light of the profile into that of sRGB."""
        return from_pcs(self.colorants)


def matrix_profile(profile: bytes) -> MatrixProfile | None:
    """Return what the bytes of a profile say, None if it is of another kind or broken."""
    try:
        (count,) = struct.unpack_from(">I", profile, _HEADER)
        entries = [
            struct.unpack_from(">4sII", profile, _HEADER + 4 + _ENTRY * index) for index in range(min(count, 100))
        ]
        tags = {name: profile[start : start + size] for name, start, size in entries}
        if profile[16:24] != b"RGB XYZ " or _TABLES & set(tags):
            return None
        colorants = [struct.unpack_from(">3i", tags[name], 8) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
        curves = tuple(tags[name] for name in (b"rTRC", b"gTRC", b"bTRC"))
    except (struct.error, KeyError):
        return None
    return MatrixProfile(curves, [(x / 65_536, y / 65_536, z / 65_536) for x, y, z in colorants])


def _grey(curve: bytes) -> ImageCms.ImageCmsProfile:
    """Return a profile of grey with that curve."""
    tags = struct.pack(">I4sII4sII", 2, b"wtpt", 156, 20, b"kTRC", 176, len(curve)) + b"XYZ " + bytes(4) + _D50 + curve
    kind = b"mntrGRAYXYZ " + bytes(12) + b"acsp" + bytes(28) + _D50 + bytes(48)
    return ImageCms.ImageCmsProfile(BytesIO(struct.pack(">I4xI", 176 + len(curve), 0x02400000) + kind + tags))
