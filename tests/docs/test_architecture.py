"""docs/architecture.md names files that are there, and leaves none of the parts out."""

import re
from pathlib import Path

from tallyframe.generations.states import Status
from tallyframe.generations.tables import generation_steps
from tallyframe.tables import metadata

ROOT = Path(__file__).parents[2]
SOURCE = ROOT / "src" / "tallyframe"
PAGE = (ROOT / "docs" / "architecture.md").read_text()
FENCED = re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
HOUSE, LAYERS, REQUEST, RUN, STATES = FENCED

PATH = re.compile(r"(?:[a-z_]+/)+(?:[a-z0-9_]+\.(?:py|sql))?|[a-z_]+\.(?:py|toml)")


def exists(path: str) -> bool:
    return any((base / path).exists() for base in (ROOT, SOURCE))


def test_every_path_in_backticks_exists() -> None:
    named = set(re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL)))
    paths = {word for word in named if PATH.fullmatch(word)}
    assert len(paths) > 15
    assert {path for path in paths if not exists(path)} == set()


def test_every_file_on_the_way_of_a_request_exists() -> None:
    paths = set(re.findall(r"\b(?:[a-z]+/)*[a-z_]+\.py\b", REQUEST))
    assert len(paths) > 15
    assert {path for path in paths if not exists(path)} == set()


def test_the_house_has_all_rooms_and_no_others() -> None:
    drawn = {name.removesuffix("/") for name in re.findall(r"^[├└]── (\S+)", HOUSE, re.MULTILINE)} | {"__main__.py"}
    built = {path.name for path in SOURCE.iterdir() if not path.name.startswith("__pycache__")} - {"__init__.py"}
    assert drawn == built


def test_the_story_is_drawn_whole() -> None:
    story = HOUSE.split("├── generations/")[1].split("\n├── ")[0]
    drawn = set(re.findall(r"\b[a-z]+\.py\b", story))
    assert drawn == {path.name for path in (SOURCE / "generations").rglob("*.py")} - {"__init__.py"}
    rooms = {name.removesuffix("/") for name in re.findall(r"^│   [├└]── (\w+/)", HOUSE, re.MULTILINE)}
    assert rooms == {path.name for path in (SOURCE / "generations").iterdir() if (path / "__init__.py").exists()}


def test_one_credit_is_followed_through_twelve_files_at_most() -> None:
    table = PAGE.split("## Follow one credit")[1].split("##")[0]
    files = re.findall(r"^\| \d+ \| `([^`]+)` \|", table, re.MULTILINE)
    assert 8 < len(files) <= 12
    assert [file for file in files if not exists(file)] == []


def test_every_part_has_its_layer() -> None:
    layered = set(re.findall(r"[a-z_]+", LAYERS))
    assert layered == {path.stem for path in SOURCE.iterdir() if not path.name.startswith("__")}


def test_every_state_is_drawn() -> None:
    assert all(status in STATES for status in Status)


def test_every_state_of_a_step_is_drawn_and_explained() -> None:
    check = next(check for check in generation_steps.constraints if str(check.name).endswith("state"))
    states = set(re.findall(r"'(\w+)'", str(check.sqltext)))  # type: ignore[attr-defined]  # it is a CHECK
    assert "withdrawn" in states
    assert {state for state in states if not re.search(rf"\b{state}\b", RUN)} == set()
    assert {state for state in states if f"`{state}`" not in PAGE} == set()


def test_every_table_is_listed_with_its_owner() -> None:
    listed = {
        table: owner
        for names, owner in re.findall(r"^\| (`.+`) \| `(\w+)/` \|$", PAGE, re.MULTILINE)
        for table in re.findall(r"\w+", names)
    }
    assert listed == {
        table: path.parent.name
        for path in SOURCE.glob("*/tables.py")
        for table in re.findall(r'sa\.Table\(\s*"(\w+)"', path.read_text())
    }
    assert set(listed) == set(metadata.tables)


def test_every_function_it_names_is_there() -> None:
    source = "".join(path.read_text() for path in SOURCE.rglob("*.py"))
    functions = set(re.findall(r"`(\w+)\(\)`", PAGE))
    assert functions
    assert {name for name in functions if f"def {name}(" not in source} == set()
