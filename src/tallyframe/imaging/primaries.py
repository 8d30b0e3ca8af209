"""Primaries of RGB colour spaces, and how colours get from one to another."""

Vector = tuple[float, float, float]
#: CIE x and y of red, green, blue and white: eight numbers.
Primaries = tuple[float, ...]

_D65 = (0.3127, 0.3290)
_C = (0.310, 0.316)
_D50 = (0.9642, 1.0, 0.8249)  # in XYZ

#: ITU-T H.273, table 2, by its code. 1 is sRGB, 9 is BT.2020 and BT.2100, 11 is DCI-P3, 12 is Display P3.
PRIMARIES: dict[int, Primaries] = {
    1: (0.640, 0.330, 0.300, 0.600, 0.150, 0.060, *_D65),
    4: (0.67, 0.33, 0.21, 0.71, 0.14, 0.08, *_C),
    5: (0.64, 0.33, 0.29, 0.60, 0.15, 0.06, *_D65),
    6: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    7: (0.630, 0.340, 0.310, 0.595, 0.155, 0.070, *_D65),
    8: (0.681, 0.319, 0.243, 0.692, 0.145, 0.049, *_C),
    9: (0.708, 0.292, 0.170, 0.797, 0.131, 0.046, *_D65),
    10: (1.0, 0.0, 0.0, 1.0, 0.0, 0.0, 1 / 3, 1 / 3),
    11: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, 0.314, 0.351),
    12: (0.680, 0.320, 0.265, 0.690, 0.150, 0.060, *_D65),
    22: (0.630, 0.340, 0.295, 0.605, 0.155, 0.077, *_D65),
}

#: ICC.1:2022, annex E.
_BRADFORD: list[Vector] = [(0.8951, 0.2664, -0.1614), (-0.7502, 1.7135, 0.0367), (0.0389, -0.0685, 1.0296)]


def to_srgb(primaries: Primaries) -> list[Vector]:
    """Return the rows that turn linear RGB of these primaries into that of sRGB; white stays white.

    Raises ZeroDivisionError for primaries that are on one line, and for a white without light.
    """
    back = _inverse(_seen(PRIMARIES[1]))
    return _turned([_times(back, column) for column in _turned(_seen(primaries))])


def from_pcs(colorants: list[Vector]) -> list[Vector]:
    """Return the rows that turn linear RGB of these XYZ colours, seen under D50 (ICC.1:2022, 6.3), into sRGB's."""
    back = _inverse(_seen(PRIMARIES[1]))
    return _turned([_times(back, _cones(color, _D50)) for color in colorants])


def _seen(primaries: Primaries) -> list[Vector]:
    """Return the rows that turn linear RGB into what the eye's three kinds of cones see, white being (1, 1, 1)."""
    x_white, y_white = primaries[6:8]
    white = (x_white / y_white, 1.0, (1 - x_white - y_white) / y_white)
    corners = [(x, y, 1 - x - y) for x, y in zip(primaries[0:6:2], primaries[1:6:2], strict=True)]
    shares = _times(_inverse(_turned(corners)), white)
    return _turned(
        [
            _cones((share * corner[0], share * corner[1], share * corner[2]), white)
            for share, corner in zip(shares, corners, strict=True)
        ]
    )


def _cones(color: Vector, white: Vector) -> Vector:
    """Return what the eye sees of a colour in XYZ when that white is white."""
    one, two, three = (a / b for a, b in zip(_times(_BRADFORD, color), _times(_BRADFORD, white), strict=True))
    return one, two, three


def _turned(rows: list[Vector]) -> list[Vector]:
    return list(zip(*rows, strict=True))


def _times(rows: list[Vector], vector: Vector) -> Vector:
    one, two, three = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in rows)
    return one, two, three


def _inverse(rows: list[Vector]) -> list[Vector]:
    """Return the inverse by cross products. Raises ZeroDivisionError if there is none."""

    def cross(a: Vector, b: Vector) -> Vector:
        return a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]

    one, two, three = rows
    columns = [cross(two, three), cross(three, one), cross(one, two)]
    size = sum(a * b for a, b in zip(one, columns[0], strict=True))
    return _turned([(x / size, y / size, z / size) for x, y, z in columns])
