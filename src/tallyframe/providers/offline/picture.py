"""Images: a landscape with pictures in it, and below them the prompt and the label. PNG, by Pillow."""

from collections.abc import Sequence
from io import BytesIO
from math import ceil

from PIL import Image, ImageFilter

from tallyframe.providers.base import ImageTask, Media
from tallyframe.providers.fitting import small_on_white
from tallyframe.providers.offline import lettering, scenery

#: aspect ratio -> width and height in pixels
IMAGE_SIZES = {
    "1:1": (1024, 1024),
    "9:16": (720, 1280),
    "16:9": (1280, 720),
    "4:5": (864, 1080),
    "3:4": (864, 1152),
}
Box = tuple[int, int, int, int]  # left, top, right, bottom; pixels

_SMALLER = 8  # a landscape behind pictures is painted at this part of the size
_EDGE = 5  # pixels of white around a picture
_COMPRESSION = 4  # of 9: beyond, zlib takes twice the time for a few percent


def draw_image(order: ImageTask, given: Sequence[Media], prompt: str) -> Media:
    """Hang the pictures given for a checked order in a landscape of the prompt (without cards), and give the PNG.

    Raises ProviderError (invalid_input) if a picture can't be decoded. Takes CPU time: call it in a thread.
    """
    size = IMAGE_SIZES[order.aspect_ratio]
    pictures = [open_picture(picture, size) for picture in given]
    if pictures:  # the landscape is out of focus then: small, blurred and stretched
        small = scenery.landscape(prompt, (size[0] // _SMALLER, size[1] // _SMALLER))
        canvas = small.filter(ImageFilter.GaussianBlur(3)).resize(size, Image.Resampling.BICUBIC)
    else:
        canvas = scenery.landscape(prompt, size)
    caption = lettering.write_caption(canvas, prompt)
    margin = min(size) // 14
    stage = (margin, margin, size[0] - margin, caption)
    boxes = arrange([each.width / each.height for each in pictures], stage, margin)
    for picture, (left, top, right, bottom) in zip(pictures, boxes, strict=True):
        canvas.paste((250, 250, 250), (left - _EDGE, top - _EDGE, right + _EDGE, bottom + _EDGE))
        canvas.paste(picture.resize((right - left, bottom - top), Image.Resampling.LANCZOS), (left, top))
    out = BytesIO()
    canvas.save(out, "PNG", compress_level=_COMPRESSION)
    return Media(out.getvalue(), "image/png", *size)


def open_picture(media: Media, bounds: tuple[int, int]) -> Image.Image:
    """Decode a picture upright as RGB on white, no larger than twice the bounds (pixels).

    Raises ProviderError (invalid_input) if it can't be decoded.
    """
    return small_on_white(media.data, 2 * max(bounds), Image.Resampling.BOX)


def arrange(ratios: Sequence[float], stage: Box, gap: int) -> list[Box]:
    """Place pictures of these width-to-height ratios in a grid on the stage, each whole and as large as can be."""
    return max((_grid(ratios, columns, stage, gap) for columns in range(1, len(ratios) + 1)), key=_smallest, default=[])


def _grid(ratios: Sequence[float], columns: int, stage: Box, gap: int) -> list[Box]:
    """Center each picture in its cell, and the last row on the stage."""
    wide = (stage[2] - stage[0] + gap) / columns - gap
    high = (stage[3] - stage[1] + gap) / ceil(len(ratios) / columns) - gap
    boxes = []
    for number, ratio in enumerate(ratios):
        row, column = divmod(number, columns)
        missing = max(0, columns * (row + 1) - len(ratios))
        x = stage[0] + (column + missing / 2) * (wide + gap) + wide / 2
        y = stage[1] + row * (high + gap) + high / 2
        width, height = max(1, min(wide, high * ratio)), max(1, min(high, wide / ratio))
        left, top = round(x - width / 2), round(y - height / 2)
        boxes.append((left, top, left + round(width), top + round(height)))
    return boxes


def _smallest(boxes: Sequence[Box]) -> int:
    return min((right - left) * (bottom - top) for left, top, right, bottom in boxes)
