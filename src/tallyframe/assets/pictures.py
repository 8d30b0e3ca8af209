"""Cleans pictures from outside: known by content, bounded by their header, encoded anew without their metadata.

Only re-encoding makes a file that is a picture and nothing else (OWASP ASVS 5.0, 5.2.2); a right signature in front
does not stop a file from being a script or an archive as well.
"""

from io import BytesIO

from tallyframe.errors import TooLarge, UnsupportedMedia, ValidationFailed
from tallyframe.imaging.formats import DamagedPictureError, Kind, kind_of, open_picture, upright
from tallyframe.providers.base import Media

_NAMES: dict[Kind, str] = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP"}
#: Beyond these efforts, zlib and libwebp take several times as long for files that are a few percent smaller.
_SAVE: dict[Kind, dict[str, int]] = {
    "JPEG": {"quality": 92},
    "PNG": {"compress_level": 4},
    "WEBP": {"quality": 92, "method": 2},
}


def clean(data: bytes, *, max_bytes: int, max_pixels: int) -> Media:
    """Return the picture in `data` re-encoded in its own format: upright, 8 bits, sRGB, the first frame, no metadata.

    JPEG, PNG and WebP are known by content. Transparency stays, and so does the detail: a lossless WebP is lossless,
    and a JPEG has as many samples of colour as before. What comes out can be larger than `max_bytes`, which bounds
    only what comes in. CPU-bound, about 12 bytes of memory per pixel, WebP 20: call it in a thread.

    Raises TooLarge for more than `max_bytes` bytes, `max_pixels` pixels or `MAX_SIDE` pixels a side, the last two from
    the header and before any pixel is decoded; UnsupportedMedia for other formats; ValidationFailed for a damaged file.
    Damage to anything but pixels is no reason: a profile that can't be used, for instance, is dropped.
    """
    if len(data) > max_bytes:
        raise TooLarge(f"The picture has {len(data):,} bytes; at most {max_bytes:,} are accepted.")
    kind = kind_of(data)
    if kind is None:
        raise UnsupportedMedia(f"Only JPEG, PNG and WebP up to {max_bytes / 2**20:g} MiB each are accepted.")
    try:
        picture = open_picture(kind, data, max_pixels)
        image = upright(picture)
    except DamagedPictureError as error:
        raise ValidationFailed(f"This {_NAMES[kind]} picture is damaged or incomplete.") from error
    image.info.clear()  # the encoders would otherwise write comments, profiles and resolutions again
    out = BytesIO()
    image.save(out, format=kind, **{**_SAVE[kind], **picture.detail})
    return Media(out.getvalue(), f"image/{kind.lower()}", image.width, image.height)
