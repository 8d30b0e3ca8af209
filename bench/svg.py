"""Curves as SVG: how a figure in ms grows with the size of a database. Plain text, without a library."""

from collections.abc import Mapping, Sequence
from html import escape
from math import ceil, log10

#: By size, in ascending order.
Curve = Mapping[int, float]

_WIDTH, _HEIGHT = 680, 320
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 200, 40, 40  # pixels around the area of the curves
_COLOURS = ("#1f6feb", "#d1242f", "#1a7f37", "#9a6700", "#8250df", "#57606a")
_FONT = 'font-family="sans-serif" font-size="12"'
_LINES = 4  # across, beside that of zero
_NICE = (1, 2, 2.5, 5, 10)  # times a power of ten: what the step between two lines may be


def chart(title: str, curves: Mapping[str, Curve]) -> str:
    """Return a picture of the curves: sizes to the right, logarithmically, and ms upwards from 0."""
    sizes = sorted({size for curve in curves.values() for size in curve})
    step = _nice(max(max(curve.values()) for curve in curves.values()) / _LINES)
    ends = sorted((curve[max(curve)], name) for name, curve in curves.items())
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" {_FONT}>',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="#ffffff"/>',
        f'<text x="{_LEFT}" y="22" font-size="14" font-weight="bold">{escape(title)}</text>',
        *_grid(sizes, step),
    ]
    for number, (name, curve) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        points = [(_x(size, sizes), _y(value, step)) for size, value in sorted(curve.items())]
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{colour}"/>' for x, y in points]
        # Names stand beside each other's in the order of the curves' ends, so that none covers another.
        place = ends.index((curve[max(curve)], name))
        y = _HEIGHT - _BOTTOM - 10 - place * 18
        label = f"{name}: {curve[max(curve)]:.3g} ms"
        parts.append(f'<text x="{_WIDTH - _RIGHT + 14}" y="{y}" fill="{colour}">{escape(label)}</text>')
    return "\n".join([*parts, "</svg>", ""])


def _grid(sizes: Sequence[int], step: float) -> list[str]:
    """Return the lines across with their ms, and the sizes below."""
    right, parts = _WIDTH - _RIGHT, []
    for number in range(_LINES + 1):
        y = _y(number * step, step)
        parts.append(f'<line x1="{_LEFT}" y1="{y:.1f}" x2="{right}" y2="{y:.1f}" stroke="#d0d7de"/>')
        parts.append(f'<text x="{_LEFT - 8}" y="{y + 4:.1f}" text-anchor="end">{number * step:g} ms</text>')
    for size in sizes:
        x, y = _x(size, sizes), _HEIGHT - _BOTTOM + 20
        parts.append(f'<text x="{x:.1f}" y="{y}" text-anchor="middle">{size:,}</text>')
    return parts


def _x(size: int, sizes: Sequence[int]) -> float:
    span = log10(sizes[-1]) - log10(sizes[0])
    share = (log10(size) - log10(sizes[0])) / span if span else 0.5
    return _LEFT + share * (_WIDTH - _LEFT - _RIGHT)


def _y(value: float, step: float) -> float:
    return _HEIGHT - _BOTTOM - value / (step * _LINES) * (_HEIGHT - _TOP - _BOTTOM)


def _nice(least: float) -> float:
    """Return the next round number from `least` on."""
    power = 10.0 ** (ceil(log10(least)) - 1) if least > 0 else 1.0
    return next(nice * power for nice in _NICE if nice * power >= least)
