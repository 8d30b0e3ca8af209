"""CONTRIBUTING.md's examples are dropped into a copy of the package and run: an operation, a provider, their tests."""

import asyncio
import json
import re
import shutil
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tallyframe.db import Database
from tallyframe.settings import Settings
from tests.operations.buying import buy, until_ended
from tests.operations.tree import ROOT, InTree, Tree
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.vendor import Reply, Request, Vendor, answer, vendor

PAGE = (ROOT / "CONTRIBUTING.md").read_text()
FILES = dict(re.findall(r"^<!-- file: (\S+) -->\n```python\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
LINES = dict(re.findall(r"^<!-- lines: (\S+) -->\n```diff\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
TESTS = [file for file in FILES if file.startswith("tests/")]
PACKAGE = "src/tallyframe/"
ENVIRONMENT = {"QUILL_API_KEY": "quill-key-0123456789", "TALLYFRAME_TEXT_PROVIDERS": "quill"}


def drop_in(tree: Tree) -> None:
    """Do what the page says: add the files, and add each line that is marked + after the one that stands above it."""
    for name, text in FILES.items():
        file = tree.root / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    for name, diff in LINES.items():
        for after, added in re.findall(r"^ (.*\n)\+(.*\n)", diff, re.MULTILINE):
            tree._insert(name.removeprefix(PACKAGE), after, added)


def quill(request: Request) -> Reply:
    """The vendor: a slogan for what it likes, and a refusal for the rest."""
    if request.headers.get("authorization") != f"Bearer {ENVIRONMENT['QUILL_API_KEY']}":
        return answer({}, 401)
    if request.path == "/v1/account":
        return answer({"name": "tests"})
    asked = request.json
    if "forbidden" in asked["prompt"]:
        return answer({}, 451)
    return answer({"text": json.dumps({"slogan": f"{asked['model']} likes {asked['prompt']}"}), "tokens": 9})


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    made = Tree.copied(tmp_path / "tree")
    drop_in(made)
    return made


@pytest.fixture
async def served(tree: Tree) -> AsyncIterator[Vendor]:
    """Quill's server, which the copy knows as Quill's address."""
    async with vendor(quill) as server:
        file = tree.root / PACKAGE / "providers/quill/__init__.py"
        text = file.read_text()
        assert text.count("https://quill.example.com") == 1
        file.write_text(text.replace("https://quill.example.com", server.url))
        yield server


@pytest.fixture
async def processes(settings: Settings, tree: Tree, served: Vendor) -> AsyncIterator[InTree]:
    started = InTree(settings, tree=tree)
    yield started
    await started.end_all()


def test_one_file_and_its_line_are_all_that_each_of_them_needs(tree: Tree) -> None:
    added = tree.changed()
    assert (added.pop("catalog.py"), added.pop("operations/registry.py")) == (1, 2)
    assert {f"{PACKAGE}{file}" for file in added} == set(FILES) - set(TESTS)


async def test_the_operation_is_listed_priced_ordered_delivered_and_refunded_by_the_provider(
    processes: InTree, served: Vendor, alice: Member, db: Database, owner: Any
) -> None:
    _, url = await processes.api(**ENVIRONMENT)
    await processes.worker(**ENVIRONMENT)
    headers = {"Authorization": f"Bearer {alice.key}"}
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=30) as http:
        member = Member(alice.user, alice.key, http)
        listed = {each["name"]: each for each in (await http.get("/v1/operations")).json()["data"]}
        assert (listed["slogan"]["credits"], listed["slogan"]["description"]) == (2, "A slogan for a product.")
        assert listed["slogan"]["input_schema"]["required"] == ["product"]

        made = await until_ended(member, await buy(member, "slogan", product="a bicycle"))
        assert (made["status"], made["provider"], made["model"]) == ("succeeded", "quill", "quill-1")
        assert made["output"] == {"slogan": "quill-1 likes a bicycle"}
        assert await member.available() == 18

        refused = await until_ended(member, await buy(member, "slogan", product="what is forbidden"))
        assert (refused["status"], refused["error"]["code"]) == ("failed", "content_policy")
        assert refused["credits"] == {"quoted": 2, "charged": 2, "refunded": 2}
        assert await member.available() == 18
    assert len(served.asked("POST", "/v1/write")) == 2
    assert await assert_books_balance(db, owner) == {"succeeded": 1, "failed": 1}


async def test_the_doctor_asks_the_provider_and_names_a_missing_key(tree: Tree, served: Vendor, db: Database) -> None:
    nowhere = {
        "TALLYFRAME_DATABASE_URL": "postgresql://127.0.0.1:1/none",
        "TALLYFRAME_REDIS_URL": "redis://127.0.0.1:1/0",
    }
    well = await asyncio.to_thread(tree.run, "tallyframe", "doctor", **nowhere, **ENVIRONMENT)
    assert "quill-1: the key belongs to tests" in well.stdout
    without = await asyncio.to_thread(
        tree.run, "tallyframe", "doctor", **nowhere, **ENVIRONMENT | {"QUILL_API_KEY": ""}
    )
    assert without.stderr == "QUILL_API_KEY: is not set, and 'quill' needs it\n"


def test_the_tests_on_the_page_pass_and_its_code_is_as_our_linter_wants_it(tree: Tree) -> None:
    shutil.copytree(ROOT / "tests/support", tree.root / "tests/support", ignore=shutil.ignore_patterns("__pycache__"))
    for file in ("tests/conftest.py", "tests/operations/buying.py"):
        shutil.copy(ROOT / file, tree.root / file)
    ran = tree.run("pytest", "-q", "-p", "no:cacheprovider", *TESTS)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert re.search(r"^9 passed", ran.stdout, re.MULTILINE), ran.stdout
    for command in (("check", "--no-cache"), ("format", "--check", "--no-cache")):
        linted = tree.run("ruff", *command, *FILES)
        assert linted.returncode == 0, linted.stdout


def test_the_provider_s_variable_must_have_its_row_among_the_settings(tree: Tree) -> None:
    for folder in ("docs", "tests/docs", "tests/support"):
        shutil.copytree(ROOT / folder, tree.root / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "README.md", tree.root)
    row = "| `QUILL_API_KEY` | — | Quill's key |\n"
    page = tree.root / "docs/settings.md"
    command = ("pytest", "-q", "-p", "no:cacheprovider", "tests/docs/test_settings.py")
    without = tree.run(*command)
    assert "'QUILL_API_KEY'" in without.stdout, without.stdout
    page.write_text(re.sub(r"(?=^\| `OPENAI_API_KEY`)", row, page.read_text(), flags=re.MULTILINE))
    assert tree.run(*command).returncode == 0


def test_every_file_that_the_page_names_is_there() -> None:
    named = set(re.findall(r"`((?:src|tests|migrations)/[\w/]+\.(?:py|sql))`", PAGE)) - set(FILES)
    assert len(named) > 15
    assert [file for file in sorted(named) if not (ROOT / file).exists()] == []
