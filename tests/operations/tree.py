"""A copy of the source tree into which an operation and a provider are dropped, and processes that run it."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from tests.support.processes import Processes

ROOT = Path(__file__).parents[2]
DROPPED = Path(__file__).parent / "dropped"
PACKAGE = Path("src/tallyframe")
ACME = '    Entry("acme", "acme", {"text": "acme-writer-1"}, (("ACME_API_KEY",),)),\n'


@dataclass
class Tree:
    """The copy; nothing of it is changed but what is said here."""

    root: Path

    @classmethod
    def copied(cls, root: Path) -> "Tree":
        """Copy what is needed to run it and to check it."""
        leave_out = shutil.ignore_patterns("__pycache__")
        for folder in (PACKAGE, Path("migrations"), Path("tests/architecture")):
            shutil.copytree(ROOT / folder, root / folder, ignore=leave_out)
        for file in ("pyproject.toml", "alembic.ini"):
            shutil.copy(ROOT / file, root / file)
        return cls(root)

    def drop_in_operation(self, name: str) -> None:
        """Add one file, and its line with the import that it needs."""
        shutil.copy(DROPPED / f"{name}.py", self.root / PACKAGE / "operations")
        kind = name.capitalize()
        self._insert("operations/registry.py", "    Image(),\n", f"    {kind}(),\n")
        place = "from tallyframe.operations.image import Image\n"
        self._insert("operations/registry.py", place, f"from tallyframe.operations.{name} import {kind}\n")

    def drop_in_acme(self, address: str = "http://acme.invalid") -> None:
        """Add one folder, whose server is at the address, and its line."""
        folder = self.root / PACKAGE / "providers/acme"
        shutil.copytree(DROPPED / "acme", folder, ignore=shutil.ignore_patterns("__pycache__"))
        writer = folder / "writer.py"
        writer.write_text(writer.read_text().replace("http://acme.invalid", address))
        self._insert("catalog.py", "CATALOG = (\n", ACME)

    def _insert(self, file: str, after: str, line: str) -> None:
        path = self.root / PACKAGE / file
        text = path.read_text()
        assert text.count(after) == 1, (file, after)
        path.write_text(text.replace(after, after + line))

    def changed(self) -> dict[str, int]:
        """The files that are not as they were → how many lines were added; none may have lost one."""
        found = {}
        for path in sorted((self.root / PACKAGE).rglob("*.py")):
            name = path.relative_to(self.root / PACKAGE)
            before = ROOT / PACKAGE / name
            old, new = before.read_text().splitlines() if before.exists() else [], path.read_text().splitlines()
            if old != new:
                assert [line for line in new if line in set(old)] == old, name
                found[str(name)] = len(new) - len(old)
        return found

    def run(self, *command: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        """Run a Python module in the copy to its end."""
        return self._run("-m", *command, **environment)

    def run_code(self, code: str, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """Run lines of Python in the copy to their end."""
        return self._run("-c", code, *arguments)

    def _run(self, *arguments: str, **environment: str) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(
            [sys.executable, *arguments],
            cwd=self.root,
            env={**os.environ, **self.environment(), **environment},
            capture_output=True,
            text=True,
            timeout=300,
            check=False,
        )

    def environment(self) -> dict[str, str]:
        return {"PYTHONPATH": str(self.root / "src"), "PYTHONDONTWRITEBYTECODE": "1"}


@dataclass
class InTree(Processes):
    """Processes of the copy."""

    tree: Tree | None = None

    def environment(self, **more: str) -> dict[str, str]:
        assert self.tree
        return super().environment(**self.tree.environment() | more)
