"""docs/settings.md has a row for every setting, with the default of the code, and for nothing else."""

import re
from pathlib import Path

import pytest

from tests.support.variables import shown, variables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "settings.md").read_text()
README = (ROOT / "README.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| (.+?) \| (.+) \|$", re.MULTILINE)
ROWS = ROW.findall(PAGE)
FIRST = ROW.findall(README.split("\n## Settings of a first deployment\n")[1].split("\n## ")[0])


def test_every_setting_is_there_once_with_its_default_and_nothing_else() -> None:
    assert sorted((name, default) for name, default, _ in ROWS) == sorted(
        (name, shown(default)) for name, default in variables().items()
    )


def test_every_table_has_the_same_columns() -> None:
    heads = re.findall(r"^(\|.*)\n\|[-|]+$", PAGE, re.MULTILINE)
    assert len(heads) > 5
    assert set(heads) == {"| name | default | unit and meaning |"}
    assert len(ROWS) == len(re.findall(r"^\| `", PAGE, re.MULTILINE))


UNITS = (
    *("bytes", "calls", "connections", "credits", "days", "failures", "files", "generations", "hours", "pictures"),
    *("pixels", "projects", "seconds", "tries"),
)


@pytest.mark.parametrize(("name", "meaning"), [(name, said) for name, shown, said in ROWS if shown[1:-1].isdecimal()])
def test_every_number_begins_with_its_unit(name: str, meaning: str) -> None:
    assert any(re.search(rf"^(?:\w+ ){{0,2}}{unit}\b|, {unit}\b", meaning) for unit in UNITS)


def test_the_readme_keeps_a_dozen_of_them_with_the_same_defaults() -> None:
    assert 10 <= len(FIRST) <= 14
    known = {name: default for name, default, _ in ROWS}
    assert {name: default for name, default, _ in FIRST} == {name: known.get(name) for name, _, _ in FIRST}
