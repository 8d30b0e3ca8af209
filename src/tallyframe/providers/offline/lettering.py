"""Text on pictures: what the font can write, broken into lines."""

import bisect
import unicodedata
from functools import cache

from PIL import Image, ImageDraw, ImageFont

LABEL = "Made offline by Tallyframe · sample, not AI"

_MAX_CHARACTERS = 600  # of a prompt; what is beyond would not fit on any canvas
_MAX_LINES = 3
_WRITABLE = frozenset(map(chr, range(0x20, 0x7F))) | frozenset("©«°±´·»‘’“”…‹›⁄™")  # noqa: RUF001 - the font's glyphs
_LOOKALIKES = str.maketrans({"ß": "ss", "–": "-", "—": "-", "ø": "o", "Ø": "O", "æ": "ae", "ł": "l", "Ł": "L"})  # noqa: RUF001 - typed by users
_BOX = "\u25a1"  # not in the font, so it is drawn as the font's own box


def write_caption(canvas: Image.Image, prompt: str) -> None:
    """Write the label, and above it the prompt in up to three lines, at the bottom of an RGB or RGBA canvas."""
    unit, margin = _unit(canvas), _margin(canvas)
    font, draw = _font(4 * unit), ImageDraw.Draw(canvas)
    _write_label(canvas, canvas.height - margin)
    lines = break_lines(writable(prompt), font, canvas.width - 2 * margin)
    top = canvas.height - caption_height(canvas.size, prompt) + 3 * unit
    for number, line in enumerate(lines):
        draw.text((margin, round(top + 5.4 * number * unit)), line, fill="white", font=font)


def caption_height(size: tuple[int, int], prompt: str) -> int:
    """Say how many pixels at the bottom of a canvas of this size (pixels) `write_caption` uses."""
    unit = min(size) / 100
    lines = break_lines(writable(prompt), _font(4 * unit), size[0] - 2 * round(5 * unit))
    return round((15 + 5.4 * len(lines)) * unit)


def write_label_above(canvas: Image.Image) -> None:
    """Write the label alone, at the top of an RGB or RGBA canvas."""
    _write_label(canvas, _margin(canvas) + _plate_height(canvas))


def _write_label(canvas: Image.Image, bottom: int) -> None:
    unit, left, height = _unit(canvas), _margin(canvas), _plate_height(canvas)
    font, draw, pad = _font(2.5 * unit), ImageDraw.Draw(canvas), round(1.6 * unit)
    plate = (left, bottom - height, left + round(font.getlength(LABEL)) + 2 * pad, bottom)
    draw.rounded_rectangle(plate, radius=height / 2, fill=(20, 22, 28))
    draw.text((left + pad, bottom - height / 2), LABEL, fill=(235, 237, 242), font=font, anchor="lm")


def _plate_height(canvas: Image.Image) -> int:
    return round(4.6 * _unit(canvas))


def writable(text: str) -> str:
    """Turn any text into characters that are safe to draw: accents fall off, unknown letters become boxes."""
    short = " ".join(text[: 2 * _MAX_CHARACTERS].split())[:_MAX_CHARACTERS]
    return " ".join("".join(map(_spell, short.translate(_LOOKALIKES))).split())


def _spell(character: str) -> str:
    if character in _WRITABLE:
        return character
    base = "".join(c for c in unicodedata.normalize("NFKD", character) if unicodedata.category(c)[0] not in "MC")
    return base if set(base) <= _WRITABLE else _BOX


def break_lines(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Break writable text into at most three lines of `width` pixels; what is left over becomes an ellipsis."""
    lines: list[str] = []
    while text and len(lines) < _MAX_LINES:
        end = _line_end(text, font, width)
        lines.append(text[:end].rstrip())
        text = text[end:].lstrip()
    if text:
        end = _fitting(lines[-1], font, width - font.getlength("…"))
        lines[-1] = lines[-1][:end].rstrip(" ,.;:") + "…"
    return lines


def _line_end(text: str, font: ImageFont.FreeTypeFont, width: float) -> int:
    end = max(1, _fitting(text, font, width))
    if end == len(text):
        return end
    space = text.rfind(" ", 1, end + 1)
    return space if space > 0 else end  # a word longer than a line is cut


def _fitting(text: str, font: ImageFont.FreeTypeFont, width: float) -> int:
    return bisect.bisect_right(range(1, len(text) + 1), width, key=lambda end: font.getlength(text[:end]))


def _unit(canvas: Image.Image) -> float:
    return min(canvas.size) / 100


def _margin(canvas: Image.Image) -> int:
    return round(5 * _unit(canvas))


@cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size=size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType, so it can't write text at a size.")
    return font
