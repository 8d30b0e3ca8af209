"""Cleans pictures from outside: known by content, bounded by their header, encoded anew without their metadata.

Only re-encoding makes a file that is a picture and nothing else (OWASP ASVS 5.0, 5.2.2); a right signature in front
does not stop a file from being a script or an archive as well.
"""

from io import BytesIO

from PIL import Image, ImageCms

from tallyframe.assets.picture_formats import Kind, kind_of, open_picture
from tallyframe.errors import TallyframeError, TooLarge, UnsupportedMedia, ValidationFailed
from tallyframe.providers.base import Media

_NAMES: dict[Kind, str] = {"JPEG": "JPEG", "PNG": "PNG", "WEBP": "WebP"}
_SAVE: dict[Kind, dict[str, int]] = {"JPEG": {"quality": 92}, "PNG": {"compress_level": 6}, "WEBP": {"quality": 92}}

#: EXIF orientation -> what turns the picture upright.
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def clean(data: bytes, *, max_bytes: int, max_pixels: int) -> Media:
    """Return the picture in `data` re-encoded in its own format: upright, 8 bits, sRGB, the first frame, no metadata.

    JPEG, PNG and WebP are known by content. Transparency stays. What comes out can be larger than `max_bytes`, which
    bounds only what comes in. CPU-bound, about 12 bytes of memory per pixel, WebP 20: call it in a thread.

    Raises TooLarge for more than `max_bytes` bytes, `max_pixels` pixels or `MAX_SIDE` pixels a side, the last two from
    the header and before any pixel is decoded; UnsupportedMedia for other formats; ValidationFailed for a damaged file.
    """
    if len(data) > max_bytes:
        raise TooLarge(f"The picture has {len(data):,} bytes; at most {max_bytes:,} are accepted.")
    kind = kind_of(data)
    if kind is None:
        raise UnsupportedMedia(f"Only JPEG, PNG and WebP up to {max_bytes / 2**20:g} MiB each are accepted.")
    try:
        image: Image.Image
        image, orientation = open_picture(kind, data, max_pixels)
        image = _decode_to_srgb(image)
        if orientation in _UPRIGHT:
            image = image.transpose(_UPRIGHT[orientation])
        image.info.clear()  # the encoders would otherwise write comments, profiles and resolutions again
        out = BytesIO()
        image.save(out, format=kind, **_SAVE[kind])
    except (TallyframeError, MemoryError):
        raise
    except Exception as error:  # whatever a decoder raises over hostile bytes, it means the same to the user
        raise ValidationFailed(f"This {_NAMES[kind]} picture is damaged or incomplete.") from error
    return Media(out.getvalue(), f"image/{kind.lower()}", image.width, image.height)


def _decode_to_srgb(image: Image.Image) -> Image.Image:
    """Decode the first frame, and return it as RGB or RGBA in sRGB. An ICC profile that can't be used is dropped."""
    image.load()  # fails here when data is missing
    profile = image.info.get("icc_profile")
    if not profile:
        return _flat(image)
    colours = image if image.mode in {"L", "CMYK"} and not image.has_transparency_data else _flat(image)
    mode = "RGBA" if colours.mode == "RGBA" else "RGB"
    try:
        source = ImageCms.ImageCmsProfile(BytesIO(profile))
        converted = ImageCms.profileToProfile(colours, source, ImageCms.createProfile("sRGB"), outputMode=mode)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return _flat(colours)
    return converted or _flat(colours)


def _flat(image: Image.Image) -> Image.Image:
    """Return `image` as RGB, or as RGBA if any of it can be transparent."""
    if image.has_transparency_data:
        image = image.convert("RGBA")
    elif image.mode.startswith("I"):  # 16 bits; convert() would cut off at 255 instead of scaling
        image = image.convert("I").point(lambda value: value * (1 / 257)).convert("L")
    return image if image.mode in {"RGB", "RGBA"} else image.convert("RGB")
