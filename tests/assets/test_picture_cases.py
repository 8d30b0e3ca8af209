"""Pictures of the world, pixel by pixel; cases/README.md says what each stands for."""

import json
from pathlib import Path

import pytest

from tests.support.crafted import clean, pixel, read

CASES = Path(__file__).parent / "cases"
EXPECTED: dict[str, list[tuple[int, int, list[int]]]] = json.loads((CASES / "expect.json").read_text())


def test_each_case_is_expected_and_explained() -> None:
    assert {path.name for path in CASES.iterdir()} == {*EXPECTED, "expect.json", "README.md"}
    assert all(f"`{name}`" in (CASES / "README.md").read_text() for name in EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_it_comes_out_as_it_looks(name: str) -> None:
    image = read(clean((CASES / name).read_bytes()))
    for x, y, wanted in EXPECTED[name]:
        found = pixel(image.convert("RGBA"), (x, y))
        assert all(abs(a - b) <= 3 for a, b in zip(found, wanted, strict=False)), (x, y, found, wanted)
