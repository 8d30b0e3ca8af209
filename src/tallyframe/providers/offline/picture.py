"""Images: pictures on a backdrop, or a landscape, with the prompt and the label below. PNG, by Pillow."""

from collections.abc import Sequence
from io import BytesIO

from PIL import Image, ImageDraw, ImageFilter, ImageOps

from tallyframe.errors import FailureCode, ProviderError
from tallyframe.providers.base import ImageTask, Media
from tallyframe.providers.offline import collage, lettering, scenery

#: aspect ratio -> width and height in pixels
IMAGE_SIZES = {
    "1:1": (1024, 1024),
    "9:16": (720, 1280),
    "16:9": (1280, 720),
    "4:5": (864, 1080),
    "3:4": (864, 1152),
}
MAX_PICTURES = 4

_COMPRESSION = 4  # of 9: beyond, zlib takes twice the time for a few percent


def check_image(order: ImageTask) -> None:
    """Raise ProviderError (invalid_input) for an aspect ratio or a number of pictures that is not offered."""
    if order.aspect_ratio not in IMAGE_SIZES:
        raise ProviderError(FailureCode.INVALID_INPUT, f"The aspect ratio must be one of {', '.join(IMAGE_SIZES)}.")
    if len(order.inputs) > MAX_PICTURES:
        raise ProviderError(FailureCode.INVALID_INPUT, f"There may be at most {MAX_PICTURES} pictures.")


def draw_image(order: ImageTask, given: Sequence[Media], prompt: str) -> Media:
    """Compose the pictures given for a checked order with the prompt (without cards) and give the PNG.

    Raises ProviderError (invalid_input) if a picture can't be decoded. Takes CPU time: call it in a thread.
    """
    size = IMAGE_SIZES[order.aspect_ratio]
    pictures = [open_picture(picture, size) for picture in given]
    canvas = scenery.backdrop(prompt, size) if pictures else scenery.landscape(prompt, size)
    darken_below(canvas, prompt)
    _hang_up(canvas, pictures, prompt)
    lettering.write_caption(canvas, prompt)
    out = BytesIO()
    canvas.save(out, "PNG", compress_level=_COMPRESSION)
    return Media(out.getvalue(), "image/png", *size)


def darken_below(canvas: Image.Image, prompt: str) -> None:
    """Fade an RGB canvas to dark where the prompt and the label will be, so that white text is legible on it."""
    reach = min(canvas.height, round(1.6 * lettering.caption_height(canvas.size, prompt)))
    fade = Image.linear_gradient("L").resize((canvas.width, reach)).point(lambda value: min(190, value))
    canvas.paste((10, 11, 16), (0, canvas.height - reach), fade)


def open_picture(media: Media, bounds: tuple[int, int]) -> Image.Image:
    """Decode a picture upright as RGB on white, no larger than twice the bounds (pixels).

    Raises ProviderError (invalid_input) if it can't be decoded.
    """
    try:
        with Image.open(BytesIO(media.data)) as picture:
            longest = 2 * max(bounds)
            picture.thumbnail((longest, longest), Image.Resampling.BOX)
            return _on_white(ImageOps.exif_transpose(picture))
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        raise ProviderError(FailureCode.INVALID_INPUT, "A picture can't be read.") from None


def _on_white(picture: Image.Image) -> Image.Image:
    if picture.mode.startswith("I;16"):
        picture = picture.point(lambda value: value / 256).convert("L")
    if not picture.has_transparency_data:
        return picture.convert("RGB")
    cutout = picture.convert("RGBA")
    return Image.alpha_composite(Image.new("RGBA", cutout.size, "white"), cutout).convert("RGB")


def _hang_up(canvas: Image.Image, pictures: list[Image.Image], prompt: str) -> None:
    if not pictures:
        return
    margin = round(min(canvas.size) * 0.07)
    stage = (margin, margin, canvas.width - margin, canvas.height - lettering.caption_height(canvas.size, prompt))
    ratios = [picture.width / picture.height for picture in pictures]
    for picture, box in zip(pictures, collage.arrange(ratios, stage, gap=margin // 2), strict=True):
        _frame(canvas, picture, box)


def _frame(canvas: Image.Image, picture: Image.Image, box: collage.Box) -> None:
    """Put a picture into its box with a soft shadow below, a light edge and rounded corners."""
    unit = max(2, min(canvas.size) // 120)
    size = (box[2] - box[0], box[3] - box[1])
    reach = 4 * unit  # how far the shadow is seen
    shadow = ImageOps.expand(_rounded(size, 3 * unit), border=reach).filter(ImageFilter.GaussianBlur(1.6 * unit))
    canvas.paste((8, 9, 14), (box[0] - reach, box[1] - reach + unit), shadow.point(lambda value: value * 2 // 3))
    canvas.paste((250, 250, 250), box, _rounded(size, 2 * unit))
    edge = max(1, min(unit // 2, (min(size) - 1) // 2))
    inner = (max(1, size[0] - 2 * edge), max(1, size[1] - 2 * edge))
    mask = _rounded(inner, 2 * unit - edge)
    canvas.paste(picture.resize(inner, Image.Resampling.LANCZOS), (box[0] + edge, box[1] + edge), mask)


def _rounded(size: tuple[int, int], radius: int) -> Image.Image:
    """A mask that lets all through but the corners, with smooth edges."""
    mask = Image.new("L", (2 * size[0], 2 * size[1]))
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), 2 * radius, fill=255)
    return mask.reduce(2)
