"""Landscapes from a prompt: a sky, a sun and hills whose colours and shapes are read off the prompt's digest."""

import hashlib
import math

from PIL import Image, ImageColor, ImageDraw, ImageOps

_LAYERS = 4  # of hills
_STEP = 8  # pixels between two points of a ridge
_FINER = 2  # drawn this much larger and then reduced, for smooth edges
_HUES = (8, 24, 160, 182, 200, 216, 232, 252, 276, 300, 324, 344)  # degrees; the greens look like a swamp


def landscape(prompt: str, size: tuple[int, int]) -> Image.Image:
    """Paint an RGB landscape of this size (pixels). The same prompt always gives the same pixels."""
    dice = hashlib.sha256(prompt.encode(errors="replace")).digest()
    hue, width, height = _HUES[dice[0] % len(_HUES)], size[0] * _FINER, size[1] * _FINER
    fade = Image.linear_gradient("L").resize((width, height))
    canvas = ImageOps.colorize(fade, _hsl(hue, 55, 36), _hsl(hue + 45, 85, 82))
    draw = ImageDraw.Draw(canvas)
    sun = (width * (0.22 + dice[1] / 460), height * (0.2 + dice[2] / 1700))
    draw.circle(sun, min(width, height) * (0.08 + dice[3] / 4000), fill=_hsl(45, 100, 90))
    for layer in range(_LAYERS):
        slow, fast = dice[2 * layer + 4] / 256, dice[2 * layer + 5] / 256
        ridge = []
        for x in range(0, width + _STEP, _STEP):
            turn = x / width * math.tau  # a long wave and a short one
            long = math.sin(turn * (0.6 + slow) + math.tau * fast)
            short = math.sin(turn * (2 + 2 * fast) + math.tau * slow)
            ridge.append((x, height * (0.48 + 0.12 * layer + 0.05 * (long + 0.35 * short))))
        colour = _hsl(hue + 20 - 10 * layer, 38, 52 - 13 * layer)
        draw.polygon([*ridge, (width + _STEP, height), (0, height)], fill=colour)
    return canvas.reduce(_FINER)


def _hsl(hue: int, saturation: int, lightness: int) -> tuple[int, ...]:
    return ImageColor.getrgb(f"hsl({hue % 360},{saturation}%,{lightness}%)")
