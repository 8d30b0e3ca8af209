"""Where pictures go on a stage so that each is shown whole and as large as can be."""

from collections.abc import Iterator, Sequence
from itertools import combinations, pairwise

Box = tuple[int, int, int, int]  # left, top, right, bottom; pixels
_PAIR = 2
Rows = list[list[float]]  # the width-to-height ratios of the pictures, row by row


def arrange(ratios: Sequence[float], stage: Box, gap: int) -> list[Box]:
    """Place pictures of these width-to-height ratios on the stage.

    They hang in rows, in order, `gap` pixels apart; of two, the second may stand before a corner of the first instead.
    """
    width, height = stage[2] - stage[0], stage[3] - stage[1]
    best = max((_fit(rows, width, height, gap) for rows in _rowings(list(ratios))), key=_smallest)
    if len(ratios) == _PAIR:
        best = max(best, _overlap(ratios[0], ratios[1], width, height), key=_seen)
    left = stage[0] + (width - max(box[2] for box in best)) // 2
    top = stage[1] + (height - max(box[3] for box in best)) // 2
    return [(box[0] + left, box[1] + top, box[2] + left, box[3] + top) for box in best]


def _rowings(ratios: list[float]) -> Iterator[Rows]:
    """All ways to break a line of pictures into rows."""
    for count in range(len(ratios)):
        for cuts in combinations(range(1, len(ratios)), count):
            edges = [0, *cuts, len(ratios)]
            yield [ratios[start:end] for start, end in pairwise(edges)]


def _fit(rows: Rows, width: int, height: int, gap: int) -> list[Box]:
    """Make all rows equally wide, as wide as the stage lets them be. The boxes start at 0, 0."""
    room = height - gap * (len(rows) - 1)
    # A row of width w is (w - its gaps) / (its ratios) high, so the heights add up to slope * w - offset.
    slope = sum(1 / sum(row) for row in rows)
    offset = sum(gap * (len(row) - 1) / sum(row) for row in rows)
    wide = min(float(width), (room + offset) / slope)
    boxes, top = [], 0.0
    for row in rows:
        high = (wide - gap * (len(row) - 1)) / sum(row)
        boxes += _row(row, top, high, gap)
        top += high + gap
    return boxes


def _row(row: list[float], top: float, high: float, gap: int) -> list[Box]:
    boxes, left = [], 0.0
    for ratio in row:
        right, bottom = left + max(1.0, ratio * high), top + max(1.0, high)
        boxes.append((round(left), round(top), round(right), round(bottom)))
        left = right + gap
    return boxes


def _overlap(first: float, second: float, width: int, height: int) -> list[Box]:
    """Put the second picture, with a third of the area, before the lower right corner of the first."""
    # In units of the square root of the first picture's area; 0, 0 is that picture's upper left.
    big = (first**0.5, first**-0.5)
    small = ((second / 3) ** 0.5, (3 * second) ** -0.5)
    left, bottom = max(0.0, big[0] - 0.4 * small[0]), max(small[1], big[1] + 0.12 * small[1])
    whole = (max(big[0], left + small[0]), max(big[1], bottom))
    scale = min(width / whole[0], height / whole[1])
    corners = ((0.0, 0.0, *big), (left, bottom - small[1], left + small[0], bottom))
    return [_pixels(box, scale) for box in corners]


def _pixels(box: tuple[float, float, float, float], scale: float) -> Box:
    left, top, right, bottom = (round(edge * scale) for edge in box)
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _seen(boxes: list[Box]) -> int:
    """How many pixels of a pair are seen."""
    one, two = boxes
    hidden = max(0, one[2] - two[0]) * max(0, one[3] - max(one[1], two[1]))
    return sum(_area(box) for box in boxes) - hidden


def _area(box: Box) -> int:
    return (box[2] - box[0]) * (box[3] - box[1])


def _smallest(boxes: list[Box]) -> tuple[int, int]:
    areas = [_area(box) for box in boxes]
    return min(areas), sum(areas)
