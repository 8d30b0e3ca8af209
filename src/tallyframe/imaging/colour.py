"""Samples of any depth and colour space → RGB or RGBA with 8 bits, in sRGB."""

import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import reduce
from io import BytesIO
from typing import Any

from PIL import Image, ImageChops, ImageCms, ImageMath

from tallyframe.imaging.primaries import Vector
from tallyframe.imaging.profiles import matrix_profile
from tallyframe.imaging.spaces import SRGB, Space, codes

#: What tells the colours of a picture: an ICC profile, or a space by its numbers.
Colour = bytes | Space

#: Pixels that are converted at once where that takes more bytes per pixel than the picture itself.
_STRIP = 4_000_000


@dataclass(slots=True)
class Samples:
    """A decoded picture: `high` is L, RGB, RGBA or CMYK.

    With 16 bits per sample, `low` has the lower 8 in the same mode, if they are needed. `alpha` is L, for pictures
    whose alpha is not in `high`.
    """

    high: Image.Image
    low: Image.Image | None = None
    alpha: Image.Image | None = None

    def key_out(self, key: list[int]) -> None:
        """Make transparent what has exactly these values, one per channel, 8 or 16 bits as the samples."""
        planes = [(self.high, key)]
        if self.low is not None:
            planes = [(self.high, [value >> 8 for value in key]), (self.low, [value & 255 for value in key])]
        unlike = [
            band
            for image, values in planes
            for band in image.point([255 * (level != value) for value in values for level in range(256)]).split()
        ]
        self.alpha = reduce(ImageChops.lighter, unlike)

    def to_srgb(self, colours: Iterable[Colour]) -> Image.Image:
        """Convert from the first of `colours` that can be used, sRGB if there is none, and give RGB or RGBA.

        A profile of another kind than the picture, or a broken one, can't be used.
        """
        tries = (_converted(self, colour) for colour in colours)
        image = next((found for found in tries if found is not None), self.high)
        if image.mode not in {"RGB", "RGBA"}:
            image = image.convert("RGB")
        if self.alpha is not None:
            image.putalpha(self.alpha)
        return image


def asks_for_all_bits(colour: Colour) -> bool:
    """Say whether the lower 8 of 16 bits make a difference: not to sRGB, whose upper ones are what comes out.

    They do to a profile made of tables, but lcms converts only 8 bits of RGB by these.
    """
    return colour != SRGB if isinstance(colour, Space) else matrix_profile(colour) is not None


def _converted(samples: Samples, colour: Colour) -> Image.Image | None:
    """Return the samples in sRGB, None if that colour can't be used for them."""
    image, steps = samples.high, 256 if samples.low is None else 65_536
    if colour == SRGB:
        return image
    if isinstance(colour, Space):
        lights, matrix = colour.lights(steps), None if image.mode == "L" else colour.matrix()
        return _by_table(samples, codes() if matrix else [codes()[light] for light in lights], [lights] * 3, matrix)
    try:
        source, target = ImageCms.ImageCmsProfile(BytesIO(colour)), ImageCms.createProfile("sRGB")
        if image.mode == "L" and source.profile.xcolor_space.strip() == "GRAY":
            return _by_table(samples, _grey_table(source, steps))
        mode = "RGBA" if image.mode == "RGBA" else "RGB"
        coloured = image.convert("RGB") if image.mode == "L" else image  # grey may have a profile for colours
        curved = None if samples.low is None else matrix_profile(colour)
        if samples.low is not None and curved is not None:
            low = samples.low.convert("RGB") if image.mode == "L" else samples.low
            return _by_table(Samples(coloured, low), codes(), curved.lights(), curved.matrix())
        return ImageCms.profileToProfile(coloured, source, target, outputMode=mode)
    except (ImageCms.PyCMSError, OSError, TypeError, ValueError):
        return None


def _grey_table(source: ImageCms.ImageCmsProfile, steps: int) -> list[int]:
    """Return what a profile of grey makes of each of 256 or 65,536 values.

    Asked for all of a picture, lcms would be quick instead of exact, and make the dark too dark.
    """
    ramp = Image.frombytes("L", (256, 1), bytes(range(256)))
    if steps > ramp.width:
        ramp = Image.frombytes("I;16", (256, 256), struct.pack("<65536H", *range(65_536)))
    target, exact = ImageCms.createProfile("sRGB"), ImageCms.Flags.NOOPTIMIZE
    converted = ImageCms.buildTransform(source, target, ramp.mode, "RGB", flags=exact).apply(ramp)
    return list(converted.getchannel("G").tobytes())


def _by_table(
    samples: Samples, table: list[int], lights: list[list[int]] | None = None, matrix: list[Vector] | None = None
) -> Image.Image:
    """Look each channel but alpha up in a table; with a matrix, after their `lights` are mixed.

    It is done in `samples.high` itself, and strip by strip, to save memory.
    """
    image, (width, height) = samples.high, samples.high.size
    rows = max(1, _STRIP // width)
    halves = [([light >> 8 for light in channel], [light & 255 for light in channel]) for channel in lights or []]
    for top in range(0, height, rows):
        box = (0, top, width, min(top + rows, height))
        bands = list(image.crop(box).split())
        colours = bands[: len(image.mode.removesuffix("A"))]
        if samples.low is not None:
            colours = [_joined(*pair) for pair in zip(colours, samples.low.crop(box).split(), strict=False)]
        if matrix:
            colours = _mixed(colours, halves, matrix)
        colours = [band.point(table, "L") for band in colours]
        image.paste(Image.merge(image.mode, [*colours, *bands[len(colours) :]]), box)
    return image


def _joined(high: Image.Image, low: Image.Image) -> Image.Image:
    """Put two bands together to one of 16 bits, in mode I: the only one that takes a table of 65,536 values."""
    both = bytearray(2 * high.width * high.height)
    both[0::2], both[1::2] = low.tobytes(), high.tobytes()
    return Image.frombuffer("I;16", high.size, both, "raw", "I;16", 0, 1).convert("I")


def _mixed(
    bands: list[Image.Image], lights: list[tuple[list[int], list[int]]], matrix: list[Vector]
) -> list[Image.Image]:
    """Return the light of red, green and blue, 0 to `MOST_LIGHT`, mixed of that of all bands by the matrix, in mode I.

    `lights` has the upper and the lower 8 bits of each value's light, for each band. What comes out may be below 0 or
    too bright: a table has the same for these as for black and white.
    """
    pairs = zip(bands, lights, strict=True)
    light = [_joined(band.point(high, "L"), band.point(low, "L")).convert("F") for band, (high, low) in pairs]
    names = dict(zip("rgb", light, strict=True))

    def by(row: Vector) -> Callable[[dict[str, Any]], Any]:
        return lambda of: of["convert"](of["r"] * row[0] + of["g"] * row[1] + of["b"] * row[2], "I")

    return [ImageMath.lambda_eval(by(row), **names) for row in matrix]
