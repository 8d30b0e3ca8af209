"""A video's first frame as Google takes it: a PNG or JPEG that is small enough to be sent inside the order.

What travels inside an order may have about 4 MB, in base64. An image made in 2K easily has more, and a 720p video has
no use for it, so what is larger is reduced to the video's size instead of being refused.
"""

import asyncio
from io import BytesIO

from PIL import Image, ImageOps

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Media

MAX_BYTES = 2_900_000  # of the file: four thirds of it in base64, and the prompt beside it
LONGEST_SIDE = 1280  # pixels: that of a 720p video

_QUALITY = 90  # of 100
_TAKEN = frozenset({"image/png", "image/jpeg"})


async def fit_first_frame(picture: Media) -> Media:
    """Give the picture back as it is, or if it is too large or a WebP, as a JPEG of at most 1280 pixels a side.

    Raises ProviderError (invalid_input) if it would have to be changed and can't be decoded.
    """
    if picture.content_type in _TAKEN and len(picture.data) <= MAX_BYTES:
        return picture
    return await asyncio.to_thread(_reduce, picture.data)


def _reduce(data: bytes) -> Media:
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE), Image.Resampling.LANCZOS)
            reduced = _on_white(ImageOps.exif_transpose(picture))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ProviderError(
            FailureCode.INVALID_INPUT,
            "The first frame can't be read.",
            operator_message="Pillow can't decode the first frame.",
        ) from None
    out = BytesIO()
    reduced.save(out, "JPEG", quality=_QUALITY)
    return Media(out.getvalue(), "image/jpeg", *reduced.size)


def _on_white(picture: Image.Image) -> Image.Image:
    """Give a picture as RGB, because a JPEG has no transparency."""
    if picture.mode.startswith("I;16"):  # convert() alone would cut off at 255 instead of scaling
        picture = picture.point(lambda value: value / 256).convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    cutout = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", cutout.size, "white"), cutout).convert("RGB")
