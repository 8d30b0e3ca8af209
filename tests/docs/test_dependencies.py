"""docs/dependencies.md has a line for each direct dependency, in its section, and for nothing else."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dependencies.md").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

SECTIONS = {
    "What runs": PYPROJECT["project"]["dependencies"],
    "The embedded servers (extra `embedded`)": PYPROJECT["project"]["optional-dependencies"]["embedded"],
    "Development": PYPROJECT["dependency-groups"]["dev"],
}


@pytest.mark.parametrize("title", SECTIONS)
def test_each_has_its_line(title: str) -> None:
    section = PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]
    lines = dict(re.findall(r"^\| `(\S+)` \| (.+) \|$", section, re.MULTILINE))
    assert set(lines) == {Requirement(dependency).name for dependency in SECTIONS[title]}
    assert all(len(reason) > 3 for reason in lines.values())
