"""Links between the pages lead somewhere, and commands that they name exist."""

import re
import subprocess
from pathlib import Path

import pytest
import typer.main

from tallyframe.cli import app

ROOT = Path(__file__).parents[2]
PAGES = [*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")]
BY_NAME = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


def anchors(page: Path) -> set[str]:
    """The ids that GitHub gives the headings."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@BY_NAME
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if "://" in target:
            continue
        path, _, anchor = target.partition("#")
        there = (page.parent / path).resolve() if path else page
        assert there.exists(), target
        assert not anchor or anchor in anchors(there), target


@BY_NAME
def test_every_make_target_exists(page: Path) -> None:
    makefile = (ROOT / "Makefile").read_text()
    targets = set(re.findall(r"(?:`|^)make ([a-z]+)\b", page.read_text(), re.MULTILINE))
    assert targets <= set(re.findall(r"^([a-z]+):", makefile, re.MULTILINE))


@BY_NAME
def test_every_command_exists(page: Path) -> None:
    commands = set(typer.main.get_command(app).commands)  # type: ignore[attr-defined]  # a group, not seen by its type
    named = set(re.findall(r"(?:[`/]|exec api )tallyframe ([a-z]+)", page.read_text()))
    assert named <= commands


def test_the_readme_says_what_make_help_says() -> None:
    told = subprocess.run(["make", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout  # noqa: S607  # whichever make
    assert {"demo", "run", "test", "check"} <= set(re.findall(r"^  make (\w+)", told, re.MULTILINE))
