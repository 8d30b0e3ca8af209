"""Rules of the house that import contracts can't say, read off the syntax tree."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[2] / "src" / "tallyframe"
FILES = sorted(SOURCE.rglob("*.py"))
#: Every operation has a price, so a new file in operations/ belongs to these.
MONEY = [
    SOURCE / "credits.py",
    *(SOURCE / "generations" / "accept").glob("*.py"),
    *(SOURCE / "operations").glob("*.py"),
    *(SOURCE / "ledger").rglob("*.py"),
]

LONGEST_FILE = 300  # lines
LONGEST_OF_MOST = 170  # lines, of nine files in ten
MOST_USED_ONCE = 0.15  # of all functions
LONGEST_FUNCTION = 70  # lines


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(), filename=str(path))


def name_of(call: ast.expr) -> str:
    """The dotted name of what is called, as far as it has one."""
    if isinstance(call, ast.Attribute):
        return f"{name_of(call.value)}.{call.attr}"
    return call.id if isinstance(call, ast.Name) else ""


def calls(node: ast.AST) -> Iterator[ast.Call]:
    return (found for found in ast.walk(node) if isinstance(found, ast.Call))


def places(path: Path, nodes: Iterator[ast.expr] | Iterator[ast.Call] | Iterator[ast.stmt]) -> list[str]:
    return [f"{path.relative_to(SOURCE)}:{node.lineno}" for node in nodes]


def commits(module: ast.AST) -> Iterator[ast.Call]:
    return (call for call in calls(module) if name_of(call.func).rsplit(".", 1)[-1] in {"commit", "begin", "rollback"})


def waits_in_transactions(module: ast.AST) -> Iterator[ast.Call]:
    """Provider and storage calls, and anything else that waits for the world, inside `async with ….transaction()`."""
    slow = {"put", "get", "delete", "fetch", "sleep", "ring", "post", "request", "send", "wait", "gather", "to_thread"}
    slow |= {"start", "collect"}
    for block in ast.walk(module):
        if isinstance(block, ast.AsyncWith) and any(
            name_of(call.func).endswith(".transaction") for item in block.items for call in calls(item.context_expr)
        ):
            awaited = (node.value for node in ast.walk(block) if isinstance(node, ast.Await))
            for call in awaited:
                if isinstance(call, ast.Call) and name_of(call.func).rsplit(".", 1)[-1] in slow:
                    yield call


def environment(module: ast.AST) -> Iterator[ast.expr]:
    names = {"environ", "getenv", "putenv"}
    for node in ast.walk(module):
        if isinstance(node, ast.Attribute) and name_of(node) in {f"os.{name}" for name in names}:
            yield node
        elif isinstance(node, ast.ImportFrom) and node.module == "os":
            yield from (ast.copy_location(ast.Name(each.name), node) for each in node.names if each.name in names)


def floats(module: ast.AST) -> Iterator[ast.expr]:
    """Numbers that aren't whole, and what makes them; a field `duration_seconds` is no money."""
    lengths = (node for node in ast.walk(module) if isinstance(node, ast.AnnAssign))
    allowed = {each for line in lengths if name_of(line.target) == "duration_seconds" for each in ast.walk(line)}
    for node in ast.walk(module):
        if node not in allowed and (
            (isinstance(node, ast.Constant) and isinstance(node.value, float))
            or (isinstance(node, ast.Name) and node.id in {"float", "round", "Decimal"})
            or (isinstance(node, ast.Attribute) and node.attr in {"Float", "Double", "REAL", "Numeric"})
            or (isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div))
        ):
            yield node


def naive_times(module: ast.AST) -> Iterator[ast.Call]:
    for call in calls(module):
        name = name_of(call.func)
        if name.endswith(("datetime.utcnow", "datetime.utcfromtimestamp", "sa.DateTime")) or (
            name.endswith(("datetime.now", "datetime.fromtimestamp")) and not call.args[-1:] and not call.keywords
        ):
            yield call


def swallowed(module: ast.AST) -> Iterator[ast.stmt]:
    for node in ast.walk(module):
        if isinstance(node, ast.ExceptHandler) and all(isinstance(line, ast.Pass) for line in node.body):
            yield node.body[0]


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_the_rules_hold(path: Path) -> None:
    module = tree(path)
    if path != SOURCE / "db" / "pool.py":
        assert places(path, commits(module)) == [], "only db/pool.py commits"
    assert places(path, waits_in_transactions(module)) == [], "nothing waits for the world inside a transaction"
    if path != SOURCE / "settings" / "sources.py":
        assert places(path, environment(module)) == [], "only settings/sources.py reads the environment"
    if path in MONEY:
        assert places(path, floats(module)) == [], "money is whole"
    assert places(path, naive_times(module)) == [], "every time has a time zone"
    assert places(path, swallowed(module)) == [], "no error is swallowed"


def test_the_files_about_money_exist() -> None:
    assert set(MONEY) <= set(FILES)
    assert {"image.py", "video.py"} <= {path.name for path in MONEY}


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_files_and_functions_stay_small(path: Path) -> None:
    assert len(path.read_text().splitlines()) <= LONGEST_FILE
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert (node.end_lineno or 0) - node.lineno < LONGEST_FUNCTION, f"{path}:{node.lineno} {node.name}"


def test_nine_files_in_ten_are_short() -> None:
    lengths = sorted(len(path.read_text().splitlines()) for path in FILES)
    assert lengths[len(lengths) * 9 // 10] <= LONGEST_OF_MOST


def test_few_functions_are_private_and_named_once() -> None:
    """A helper is worth its name when that says more than its body; else, a reader jumps for nothing."""
    functions, used_once = 0, []
    for path in FILES:
        nodes = list(ast.walk(tree(path)))
        names = Counter(getattr(node, "id", None) or getattr(node, "attr", None) for node in nodes)
        of_file = [node.name for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
        functions += len(of_file)
        private = [name for name in of_file if name.startswith("_") and not name.startswith("__")]
        used_once += [f"{path.relative_to(SOURCE)} {name}" for name in private if names[name] == 1]
    assert len(used_once) <= MOST_USED_ONCE * functions, used_once


@pytest.mark.parametrize(
    ("rule", "source"),
    [
        (commits, "await session.commit()"),
        (commits, "async with engine.begin(): ..."),
        (waits_in_transactions, "async def f():\n  async with db.transaction() as t:\n    await storage.put(k, d, c)"),
        (waits_in_transactions, "async def f():\n  async with db.transaction():\n    await provider.start(t, c)"),
        (waits_in_transactions, "async def f():\n  async with db.transaction():\n    await client.post(url)"),
        (environment, "import os\nos.environ['X']"),
        (environment, "from os import environ"),
        (floats, "price = 0.5"),
        (floats, "half = credits / 2"),
        (floats, "sa.Column('amount', sa.Float)"),
        (naive_times, "datetime.now()"),
        (naive_times, "datetime.datetime.utcnow()"),
        (swallowed, "try:\n  f()\nexcept Exception:\n  pass"),
    ],
)
def test_each_rule_finds_its_violation(rule: object, source: str) -> None:
    assert callable(rule)
    assert list(rule(ast.parse(source)))
