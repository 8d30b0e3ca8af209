"""Curves of RGB colour spaces: from a coded value to linear light."""

from collections.abc import Callable
from math import exp, log

#: From a coded value to linear light; both from 0 (black) to 1 (white).
Curve = Callable[[float], float]

#: The light of white in cd/m² (ITU-R BT.2408, 2.1): brighter light of a PQ or HLG picture becomes white as well.
WHITE = 203
#: The display that HLG is converted for, in cd/m², and its system gamma (ITU-R BT.2100, table 5).
_HLG_PEAK, _HLG_GAMMA = 1000, 1.2
_HLG_A = 0.17883277
_HLG_B, _HLG_C = 1 - 4 * _HLG_A, 0.5 - _HLG_A * log(4 * _HLG_A)


def power(exponent: float) -> Curve:
    """Return the curve value → value to that power."""
    return lambda value: value**exponent


def _by_parts(slope: float, limit: float, offset: float, exponent: float) -> Curve:
    return lambda value: value / slope if value <= limit else ((value + offset) / (1 + offset)) ** exponent


def pq(value: float) -> float:
    """SMPTE ST 2084, in ITU-R BT.2100, table 4: the display's light is absolute."""
    raised = value ** (32 / 2523)
    light: float = (max(raised - 107 / 128, 0) / (2413 / 128 - 2392 / 128 * raised)) ** (8192 / 1305)
    return light * 10_000 / WHITE


def hlg(value: float) -> float:
    """ITU-R BT.2100, table 5: the scene's light, then the display's, channel by channel."""
    scene = value * value / 3 if value <= 0.5 else (exp((value - _HLG_C) / _HLG_A) + _HLG_B) / 12  # noqa: PLR2004  # as there
    light: float = scene**_HLG_GAMMA
    return light * _HLG_PEAK / WHITE


#: IEC 61966-2-1.
srgb_curve: Curve = _by_parts(12.92, 0.04045, 0.055, 2.4)


def to_srgb_curve(light: float) -> float:
    """Return the coded value of linear light in sRGB (IEC 61966-2-1); both from 0 to 1."""
    coded: float = 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055  # noqa: PLR2004  # as there
    return coded


_BT709 = _by_parts(4.5, 0.0812, 0.0993, 1 / 0.45)

#: ITU-T H.273, table 3, by its code. 13 is sRGB, 16 is PQ, 18 is HLG; for 2 and the logarithms there is nothing.
CURVES: dict[int, Curve] = {
    1: _BT709,
    4: power(2.2),
    5: power(2.8),
    6: _BT709,
    7: _by_parts(4.0, 0.0912, 0.1115, 1 / 0.45),
    8: power(1),
    11: _BT709,
    13: srgb_curve,
    14: _BT709,
    15: _BT709,
    16: pq,
    17: lambda value: value**2.6 * 52.37 / 48,
    18: hlg,
}
