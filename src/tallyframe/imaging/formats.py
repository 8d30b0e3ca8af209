"""Which of JPEG, PNG and WebP a picture is, by its first bytes, and the limits that its header is held to.

The decoders are called by class and not through `Image.open`: that one looks formats up in a registry that any import
can extend, hands some JPEGs to the MPO plugin, and warns of large pictures where they have to be refused.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Literal, Protocol

from PIL import Image

from tallyframe.errors import TallyframeError, TooLarge
from tallyframe.imaging.exif import turned
from tallyframe.imaging.jpeg import JpegPicture
from tallyframe.imaging.png import PngPicture
from tallyframe.imaging.png_chunks import SIGNATURE
from tallyframe.imaging.webp import WebpPicture

Kind = Literal["JPEG", "PNG", "WEBP"]

#: What a provider or a browser could still handle, in pixels; JPEG ends at 65,535 and WebP at 16,383 anyway.
MAX_SIDE = 30_000


class DamagedPictureError(ValueError):
    """A picture can't be decoded; its words are the name of the decoder's own error."""


class Picture(Protocol):
    """A picture whose header is read: its stored size in pixels, and its EXIF orientation (1 to 8)."""

    size: tuple[int, int]
    orientation: int

    @property
    def detail(self) -> Mapping[str, object]:
        """What Pillow's encoder of the same format has to be told, so that nothing gets coarser than it was."""
        ...

    def pixels(self) -> Image.Image:
        """Decode the first frame, as it is stored, as RGB or RGBA in sRGB. Raises what a decoder raises over damage."""
        ...


def kind_of(data: bytes) -> Kind | None:
    """Return the format by the first bytes, None for any other than these three."""
    if data.startswith(b"\xff\xd8\xff"):
        return "JPEG"
    if data.startswith(SIGNATURE):
        return "PNG"
    return "WEBP" if data[:4] == b"RIFF" and data[8:12] == b"WEBP" else None


def open_picture(kind: Kind, data: bytes, max_pixels: int) -> Picture:
    """Return the picture, its pixels not decoded yet.

    Raises TooLarge for more than `max_pixels` pixels, or `MAX_SIDE` a side; ValidationFailed for a JPEG with too many
    scans; DamagedPictureError.
    """
    kinds: dict[Kind, type[JpegPicture | PngPicture | WebpPicture]]
    kinds = {"JPEG": JpegPicture, "PNG": PngPicture, "WEBP": WebpPicture}
    with _damage_named():
        picture = kinds[kind](data)
        check_size(picture.size, max_pixels)
    return picture


def upright(picture: Picture) -> Image.Image:
    """Decode the picture, and turn it as its EXIF orientation says. Raises DamagedPictureError."""
    with _damage_named():
        return turned(picture.pixels(), picture.orientation)


@contextmanager
def _damage_named() -> Iterator[None]:
    try:
        yield
    except (TallyframeError, MemoryError):
        raise
    except Exception as error:  # whatever a decoder raises over hostile bytes, it means the same
        raise DamagedPictureError(type(error).__name__) from error


def check_size(size: tuple[int, int], max_pixels: int) -> None:
    """Raise TooLarge if a picture of that width and height, in pixels, is too large, ValueError if it has no pixels."""
    width, height = size
    if max(size) > MAX_SIDE:
        raise TooLarge(f"The picture is {width:,} x {height:,} pixels; at most {MAX_SIDE:,} a side are accepted.")
    if width * height > max_pixels:
        found, most = -(width * height // -100_000) / 10, max_pixels / 1e6  # rounded up, or both could look the same
        raise TooLarge(f"The picture has {found:.1f} megapixels; at most {most:.1f} are accepted.")
    if not width * height:
        raise ValueError("a picture without pixels")
