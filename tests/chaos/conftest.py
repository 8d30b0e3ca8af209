"""One short run for all tests of this folder."""

import asyncio
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.evidence import Evidence, read_evidence

ROOT = Path(__file__).parents[2]
SEED = 7


@dataclass(frozen=True)
class Run:
    folder: Path
    code: int
    printed: str

    def evidence(self) -> Evidence:
        return read_evidence(self.folder / "evidence.json")


@pytest.fixture(scope="session")
async def short_run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("chaos")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "chaos", "--quick", "--seed", str(SEED), "--keep", str(folder)),
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        stdout=-1,
        stderr=-2,
    )
    printed, _ = await process.communicate()
    return Run(folder, process.returncode or 0, printed.decode())
