"""One short run for all tests of this folder."""

import asyncio
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from chaos.evidence import Evidence, read_evidence

ROOT = Path(__file__).parents[2]
SEED = 7
LONGEST = 600  # seconds for the whole run, of which the machine may be busy with other tests for most


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
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": os.environ.get("PYTHONPATH", "")},
        stdout=-1,
        stderr=-2,
    )
    try:
        printed, _ = await asyncio.wait_for(process.communicate(), LONGEST)
    except TimeoutError:
        process.terminate()  # it ends all that it has started
        printed, _ = await process.communicate()
        pytest.fail(f"the run did not end within {LONGEST} s:\n{printed.decode()}")
    return Run(folder, process.returncode or 0, printed.decode())
