"""Pictures as vendors take them: small enough to be sent inside the order, and of a kind that they know.

What is larger is reduced instead of being refused: an image made in 2K, or an upload that is within our own limit,
easily has more bytes than a vendor takes, and more pixels than the model looks at.
"""

from dataclasses import dataclass
from io import BytesIO

from PIL import Image

from tallyframe.errors import FailureCode, ProviderError, TooLarge, ValidationFailed
from tallyframe.imaging.formats import DamagedPictureError, kind_of, open_picture, upright
from tallyframe.providers.base import Media
from tallyframe.providers.media_threads import MEDIA_THREADS

_QUALITY = 90  # of 100
#: Pixels of a picture that is reduced. Uploads are held to the operator's own limit, results to a lower one.
_MOST_PIXELS = 180_000_000


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
    reduced = small_on_white(data, longest_side)
    out = BytesIO()
    reduced.save(out, "JPEG", quality=_QUALITY)
    return Media(out.getvalue(), "image/jpeg", *reduced.size)


def small_on_white(data: bytes, longest_side: int, by: Image.Resampling = Image.Resampling.LANCZOS) -> Image.Image:
    """Decode a picture upright as RGB in sRGB, on white where it is transparent, no side longer than that (pixels).

    Raises ProviderError (invalid_input) if it can't be decoded.
    """
    kind = kind_of(data)
    try:
        picture = upright(open_picture(kind, data, _MOST_PIXELS)) if kind else None
    except (DamagedPictureError, TooLarge, ValidationFailed):
        picture = None
    if picture is None:
        raise ProviderError(
            FailureCode.INVALID_INPUT, "A picture can't be read.", operator_message="The picture can't be decoded."
        )
    picture.thumbnail((longest_side, longest_side), by)
    if picture.mode == "RGB":
        return picture
    return Image.alpha_composite(Image.new("RGBA", picture.size, "white"), picture).convert("RGB")
