"""Text on pictures: the prompt, and the label that says what they are."""

import re
import unicodedata
from functools import cache

from PIL import Image, ImageDraw, ImageFont

LABEL = "Made offline by Tallyframe · sample, not AI"

_MAX_CHARACTERS = 600  # of a prompt; three lines hold fewer
_MAX_LINES = 3
_LONG_WORD = re.compile(r"(\S{18})(?=\S)")  # would not fit into a line
_LOOKALIKES = str.maketrans({"ß": "ss", "–": "-", "—": "-", "ø": "o", "Ø": "O", "æ": "ae", "ł": "l", "Ł": "L"})  # noqa: RUF001 - typed by users


def write_label(canvas: Image.Image, top: int) -> None:
    """Write the label on a dark plate, `top` pixels from the top of an RGB canvas."""
    unit = min(canvas.size) / 100
    font, left, height, draw = _font(2.5 * unit), round(5 * unit), round(4.6 * unit), ImageDraw.Draw(canvas)
    plate = (left, top, left + round(font.getlength(LABEL) + 3.2 * unit), top + height)
    draw.rounded_rectangle(plate, height / 2, fill=(20, 22, 28))
    draw.text((left + 1.6 * unit, top + height / 2), LABEL, fill=(235, 237, 242), font=font, anchor="lm")


def write_caption(canvas: Image.Image, prompt: str) -> int:
    """Write the prompt in up to three lines, and the label, on an RGB canvas, which gets dark at the bottom for that.

    Return how many pixels from the top they begin.
    """
    unit = min(canvas.size) / 100
    font = _font(4 * unit)
    lines = _lines(writable(prompt), font, canvas.width - 12 * unit)
    height = round((15 + 5.4 * len(lines)) * unit)
    reach = min(canvas.height, round(1.6 * height))
    fade = Image.linear_gradient("L").resize((canvas.width, reach)).point(lambda value: min(190, value))
    canvas.paste((10, 11, 16), (0, canvas.height - reach), fade)
    top = canvas.height - height
    for number, line in enumerate(lines):
        place = (5 * unit, top + (3 + 5.4 * number) * unit)
        ImageDraw.Draw(canvas).text(place, line, fill="white", font=font)
    write_label(canvas, round(canvas.height - 9.6 * unit))
    return top


def writable(text: str) -> str:
    """Let accents and what can't be seen fall off; the font draws a box for letters that it lacks."""
    spelled = unicodedata.normalize("NFKD", text[:_MAX_CHARACTERS].translate(_LOOKALIKES))
    seen = "".join(each if unicodedata.category(each)[0] not in "MC" else " " * each.isspace() for each in spelled)
    return " ".join(seen.split())


def _lines(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    lines: list[str] = []
    for word in _LONG_WORD.sub(r"\1 ", text).split():
        if lines and font.getlength(longer := f"{lines[-1]} {word}") <= width:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines if len(lines) <= _MAX_LINES else [*lines[: _MAX_LINES - 1], lines[_MAX_LINES - 1] + "…"]


@cache
def _font(size: float) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)
    if not isinstance(font, ImageFont.FreeTypeFont):
        raise TypeError("Pillow was built without FreeType, so it can't write text at a size.")
    return font
