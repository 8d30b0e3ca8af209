"""Pictures as vendors take them: small enough to be sent inside the order, and of a kind that they know.

What is larger is reduced instead of being refused: an image made in 2K, or an upload that is within our own limit,
easily has more bytes than a vendor takes, and more pixels than the model looks at.
"""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image, ImageOps

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import Media
from tallyframe.providers.media_threads import MEDIA_THREADS

_QUALITY = 90  # of 100


@dataclass(frozen=True, slots=True)
class Room:
    """What a picture may have: bytes of the file, pixels of its longest side, and the content types taken."""

    max_bytes: int
    longest_side: int
    taken: frozenset[str]


#: A video's order may have about 4 MB, in base64 and with the prompt; and 720p has no use for more pixels.
FIRST_FRAME = Room(2_900_000, 1280, frozenset({"image/png", "image/jpeg"}))
#: A request to generateContent may have about 20 MB, in base64 and with the prompt: room for four such pictures.
INPUT_PICTURE = Room(3_500_000, 2048, frozenset({"image/png", "image/jpeg", "image/webp"}))
#: The same for ten pictures.
ONE_OF_TEN = Room(1_400_000, 1024, INPUT_PICTURE.taken)


def room_for(pictures: int) -> Room:
    """Return what each of up to ten pictures of one request may have."""
    return INPUT_PICTURE if pictures <= 4 else ONE_OF_TEN  # noqa: PLR2004  # as above


async def fit(picture: Media, room: Room) -> Media:
    """Give the picture back as it is, or as a JPEG that is reduced to the room if it has too many bytes or isn't taken.

    Raises ProviderError (invalid_input) if it would have to be changed and can't be decoded.
    """
    if picture.content_type in room.taken and len(picture.data) <= room.max_bytes:
        return picture
    return await MEDIA_THREADS.run(_reduce, picture.data, room.longest_side)


def _reduce(data: bytes, longest_side: int) -> Media:
    try:
        with Image.open(BytesIO(data), formats=("PNG", "JPEG", "WEBP")) as picture:
            picture.thumbnail((longest_side, longest_side), Image.Resampling.LANCZOS)
            reduced = on_white(ImageOps.exif_transpose(picture))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ProviderError(
            FailureCode.INVALID_INPUT, "A picture can't be read.", operator_message="Pillow can't decode the picture."
        ) from None
    out = BytesIO()
    reduced.save(out, "JPEG", quality=_QUALITY)
    return Media(out.getvalue(), "image/jpeg", *reduced.size)


def on_white(picture: Image.Image) -> Image.Image:
    """Give a picture as RGB, on white where it is transparent."""
    if picture.mode.startswith("I;16"):  # convert() alone would cut off at 255 instead of scaling
        picture = picture.point(lambda value: value / 256).convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    cutout = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", cutout.size, "white"), cutout).convert("RGB")
