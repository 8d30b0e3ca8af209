"""The samples of a PNG, decoded at their own depth."""

from io import BytesIO

from PIL import Image
from PIL.PngImagePlugin import PngImageFile

from tallyframe.imaging.colour import Samples
from tallyframe.imaging.png_chunks import GREY, GREY_ALPHA, RGB, RGB_ALPHA

WIDE = 16  # bits
#: How samples of 16 bits are split: for each colour type with three, Pillow's mode and what it is to take them for.
_HALVES = {
    RGB: ("RGB", "RGB;16B", "RGB;16L"),
    RGB_ALPHA: ("RGBA", "RGBA;16B", "RGBA;16L"),
}


def samples_of(file: bytes) -> Samples:
    """Decode samples of up to 8 bits. Raises whatever Pillow raises."""
    image: Image.Image = PngImageFile(BytesIO(file))
    image.load()
    if image.mode == "LA":
        grey, alpha = image.split()
        return Samples(grey, alpha=alpha)
    if image.mode == "P":
        return Samples(image.convert("RGBA" if image.has_transparency_data else "RGB"))
    return Samples(image if image.mode in {"L", "RGB", "RGBA"} else image.convert("L"))


def wide_samples_of(file: bytes, colour_type: int, *, all_bits: bool) -> Samples:
    """Decode samples of 16 bits. Pillow takes their bytes for samples of 8 bits, or each second byte for one.

    Raises ValueError for a colour type that has no such samples, and whatever Pillow raises.
    """

    def taken(mode: str, order: str) -> Image.Image:
        image = PngImageFile(BytesIO(file))
        image._mode = mode  # noqa: SLF001  # how Pillow's own decoders of a format tell the mode
        image.tile = [image.tile[0]._replace(args=order)]
        image.load()
        return image

    if colour_type in _HALVES:
        mode, high, low = _HALVES[colour_type]
        return Samples(taken(mode, high), taken(mode, low) if all_bits else None)
    if colour_type == GREY_ALPHA:
        high_grey, low_grey, alpha, _ = taken("RGBA", "RGBA").split()
        return Samples(high_grey, low_grey, alpha)
    if colour_type != GREY:
        raise ValueError("a palette has no samples of 16 bits")
    high_grey, low_grey = taken("LA", "LA").split()
    return Samples(high_grey, low_grey)
