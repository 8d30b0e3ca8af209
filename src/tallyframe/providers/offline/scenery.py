"""Landscapes from a prompt: a sky, a sun and hills whose colours and shapes are read off the prompt's digest."""

import hashlib
import math

from PIL import Image, ImageColor, ImageDraw, ImageFilter, ImageOps

_LAYERS = 5  # of hills
_STEP = 8  # pixels between two points of a ridge
_FINER = 2  # drawn this much larger and then reduced, for smooth edges
_HUES = (8, 24, 160, 182, 200, 216, 232, 252, 276, 300, 324, 344)  # degrees; the greens look like a swamp
_SOFTER = 8  # a backdrop is painted this much smaller and then stretched

Colour = tuple[int, ...]


def landscape(prompt: str, size: tuple[int, int]) -> Image.Image:
    """Paint an RGB landscape of this size (pixels). The same prompt always gives the same pixels."""
    dice = hashlib.sha256(prompt.encode(errors="replace")).digest()
    large = (size[0] * _FINER, size[1] * _FINER)
    canvas = _sky(_hue(dice), large)
    _sun(canvas, dice)
    for layer in range(_LAYERS):
        _hills(canvas, dice, layer)
    return canvas.reduce(_FINER)


def backdrop(prompt: str, size: tuple[int, int]) -> Image.Image:
    """Paint the prompt's landscape out of focus and darker, for pictures to stand on. RGB, `size` in pixels."""
    small = landscape(prompt, (size[0] // _SOFTER, size[1] // _SOFTER)).filter(ImageFilter.GaussianBlur(5))
    dimmed = Image.blend(small, Image.new("RGB", small.size, (16, 18, 26)), 0.35)
    return dimmed.resize(size, Image.Resampling.BICUBIC)


def _hue(dice: bytes) -> int:
    return _HUES[dice[0] % len(_HUES)]


def _sky(hue: int, size: tuple[int, int]) -> Image.Image:
    fade = Image.linear_gradient("L").resize(size)
    return ImageOps.colorize(fade, black=_hsl(hue, 55, 36), white=_hsl(hue + 45, 85, 82))


def _sun(canvas: Image.Image, dice: bytes) -> None:
    radius = min(canvas.size) * (9 + dice[1] / 64) / 100
    x, y = canvas.width * (0.22 + dice[2] / 460), canvas.height * (0.2 + dice[3] / 1700)
    # The gradient has 181 in the middle of its edges: what is farther out is cut, or the glow would be a square.
    glow = Image.radial_gradient("L").resize((round(8 * radius),) * 2).point(lambda far: max(0, 180 - far))
    canvas.paste(_hsl(45, 100, 88), (round(x - 4 * radius), round(y - 4 * radius)), glow)
    ImageDraw.Draw(canvas).circle((x, y), radius, fill=_hsl(45, 100, 92))


def _hills(canvas: Image.Image, dice: bytes, layer: int) -> None:
    depth = layer / (_LAYERS - 1)
    hue = _hue(dice) + 20 - round(30 * depth)
    ridge = [(x, _ridge(canvas, dice, layer, x)) for x in range(0, canvas.width + _STEP, _STEP)]
    corners = [(canvas.width + _STEP, canvas.height), (0, canvas.height)]
    ImageDraw.Draw(canvas).polygon([*ridge, *corners], fill=_hsl(hue, 38, round(62 - 50 * depth)))


def _ridge(canvas: Image.Image, dice: bytes, layer: int, x: int) -> float:
    """Height of a layer's ridge at `x`, in pixels from the top: a long wave and a short one."""
    turn, (slow, fast) = x / canvas.width * math.tau, (dice[5 + 2 * layer] / 256, dice[6 + 2 * layer] / 256)
    wave = math.sin(turn * (0.6 + slow) + math.tau * fast) + 0.35 * math.sin(turn * (2 + 2 * fast) + math.tau * slow)
    return canvas.height * (0.46 + 0.11 * layer + 0.05 * wave)


def _hsl(hue: int, saturation: int, lightness: int) -> Colour:
    return ImageColor.getrgb(f"hsl({hue % 360},{saturation}%,{lightness}%)")
