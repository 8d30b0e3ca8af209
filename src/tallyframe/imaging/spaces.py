"""RGB colour spaces that are known by numbers, as tables and as a matrix."""

from dataclasses import dataclass
from functools import cache

from tallyframe.imaging.curves import Curve, srgb_curve, to_srgb_curve
from tallyframe.imaging.primaries import PRIMARIES, Primaries, Vector, to_srgb

#: Linear light from 0 to this is what matrices work with: a step is a 20th of the darkest one of sRGB.
MOST_LIGHT = 65_535


@dataclass(frozen=True, slots=True)
class Space:
    """An RGB colour space. What its curve gives above 1 is cut off."""

    curve: Curve = srgb_curve
    primaries: Primaries = PRIMARIES[1]

    def lights(self, steps: int) -> list[int]:
        """Return the light, 0 to `MOST_LIGHT`, of `steps` coded values from the lowest to the highest."""
        return [round(MOST_LIGHT * min(max(self.curve(index / (steps - 1)), 0.0), 1.0)) for index in range(steps)]

    def matrix(self) -> list[Vector] | None:
        """Return the rows that turn linear light of this space into that of sRGB, None if it has the same primaries.

        Raises ZeroDivisionError for primaries that make no space.
        """
        return None if self.primaries == PRIMARIES[1] else to_srgb(self.primaries)


SRGB = Space()


@cache
def codes() -> list[int]:
    """Return the coded value in sRGB, 0 to 255, of each linear light from 0 to `MOST_LIGHT`."""
    return [round(255 * to_srgb_curve(light / MOST_LIGHT)) for light in range(MOST_LIGHT + 1)]
