"""What else knows of a new operation and a new provider by itself: commands, errors of settings, and our own rules."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.operations.acme_server import KEY, acme_server
from tests.operations.tree import Tree

NOBODY = {
    "TALLYFRAME_DATABASE_URL": "postgresql://127.0.0.1:1/none",
    "TALLYFRAME_REDIS_URL": "redis://127.0.0.1:1/0",
    "TALLYFRAME_TEXT_PROVIDERS": "acme",
}
RULES = ("pytest", "-q", "-p", "no:cacheprovider", "tests/architecture/test_house_rules.py")


def linted_in(tree: Tree) -> list[str]:
    """The names of the import contracts that are broken."""
    command = "from importlinter.cli import lint_imports_command; lint_imports_command()"
    ended = tree.run_code(command, "--no-cache")
    broken = re.findall(r"^(.+) BROKEN\b", ended.stdout, re.MULTILINE)
    assert (ended.returncode == 0) == (not broken), ended.stdout + ended.stderr
    assert " kept, " in ended.stdout
    return [name.strip() for name in broken]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    made = Tree.copied(tmp_path_factory.mktemp("tree") / "tree")
    made.drop_in_operation("poster")
    made.drop_in_acme()
    return made


@pytest.fixture
async def answering(tmp_path: Path) -> AsyncIterator[Tree]:
    """The same, where Acme answers."""
    async with acme_server() as acme:
        assert acme.server
        made = Tree.copied(tmp_path / "tree")
        made.drop_in_acme(acme.server.url)
        yield made


@pytest.mark.parametrize("command", ["api", "worker", "doctor", "openapi"])
def test_a_missing_key_stops_every_start_with_its_name(tree: Tree, command: str) -> None:
    ended = tree.run("tallyframe", command, **NOBODY)
    assert ended.returncode == 1
    assert ended.stderr.splitlines() == ["ACME_API_KEY: is not set, and 'acme' needs it"]


def test_it_is_among_the_known_and_serves_words_only(tree: Tree) -> None:
    unknown = tree.run("tallyframe", "doctor", **NOBODY | {"TALLYFRAME_TEXT_PROVIDERS": "acne"})
    assert "known are: acme, openai, gemini, offline" in unknown.stderr
    wrong = tree.run("tallyframe", "doctor", **NOBODY | {"TALLYFRAME_IMAGE_PROVIDERS": "acme", "ACME_API_KEY": KEY})
    assert wrong.stderr.startswith("TALLYFRAME_IMAGE_PROVIDERS: unknown provider 'acme'")


def test_a_price_is_known_for_what_is_there(tree: Tree) -> None:
    known = {"TALLYFRAME_PRICES": '{"poster": 0}', "ACME_API_KEY": KEY}
    assert tree.run("tallyframe", "openapi", **NOBODY | known).returncode == 0
    unknown = {"TALLYFRAME_PRICES": '{"banner": 1}', "ACME_API_KEY": KEY}
    ended = tree.run("tallyframe", "api", "--port", "9", **NOBODY | unknown)
    said = "TALLYFRAME_PRICES: unknown operation 'banner'; known are: image, poster, video\n"
    assert (ended.returncode, ended.stderr) == (1, said)


async def test_the_doctor_asks_it(answering: Tree) -> None:
    well = await asyncio.to_thread(answering.run, "tallyframe", "doctor", **NOBODY | {"ACME_API_KEY": KEY})
    assert "acme-writer-1: writes for tests" in well.stdout
    sick = await asyncio.to_thread(answering.run, "tallyframe", "doctor", **NOBODY | {"ACME_API_KEY": f"{KEY}x"})
    assert "Acme does not know the key" in sick.stdout
    assert KEY not in sick.stdout + sick.stderr


def test_the_contract_is_made(tree: Tree) -> None:
    made = tree.run("tallyframe", "openapi", **NOBODY | {"ACME_API_KEY": KEY})
    assert made.returncode == 0, made.stderr
    assert "/v1/generations" in json.loads(made.stdout)["paths"]


def test_our_import_contracts_and_rules_hold(tree: Tree) -> None:
    assert linted_in(tree) == []
    checked = tree.run(*RULES)
    assert checked.returncode == 0, checked.stdout


def test_our_import_contracts_know_a_new_adapter_that_is_used_elsewhere(tree: Tree) -> None:
    """Or else the test above would prove nothing."""
    place = tree.root / "src/tallyframe/api/health.py"
    before = place.read_text()
    for wrong in ("tallyframe.providers.acme", "tallyframe.operations.poster"):
        place.write_text(f"{before}\nimport {wrong}\n")
        assert linted_in(tree) == [f"{wrong.split('.')[1].capitalize()} are imported by their registry only"], wrong
    place.write_text(before)


def test_our_money_rule_knows_a_new_operation(tree: Tree) -> None:
    place = tree.root / "src/tallyframe/operations/poster.py"
    before = place.read_text()
    place.write_text(f"{before}\nHALF = 0.5\n")
    checked = tree.run(*RULES, "-k", "rules_hold")
    place.write_text(before)
    assert checked.returncode == 1
    assert "operations/poster.py" in checked.stdout
