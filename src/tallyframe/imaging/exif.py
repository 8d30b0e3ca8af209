"""The orientation in an EXIF block, and what turns the picture upright."""

import struct

from PIL import Image

_ORIENTATION, _SHORT = 0x0112, 3  # an EXIF tag (CIPA DC-008, 4.6.4) and the type of its value
_UNCHANGED = 1

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def orientation(exif: bytes) -> int:
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


def turned(image: Image.Image, found: int) -> Image.Image:
    """Return the picture as it has to be shown for that orientation; it is unchanged for 1 and for unknown ones."""
    return image.transpose(_UPRIGHT[found]) if found in _UPRIGHT else image
