"""Schemathesis finds nothing: every answer of a live API is as its OpenAPI document says, whatever is sent."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.conftest import ClientFor, enroll
from tests.support.processes import Processes

ROOT = Path(__file__).parents[2]
#: Cases at least, and what makes that many with seed 1.
CASES, PER_OPERATION = 3000, 40


async def test_no_case_is_answered_otherwise_than_documented(
    processes: Processes, db: Any, client_for: ClientFor, tmp_path: Path
) -> None:
    """By HTTP against `tallyframe api`, a process of its own, with real Postgres and Valkey."""
    admin = await enroll(db, client_for, "admin@example.com", 100_000_000, admin=True)
    [key] = (await admin.http.get("/v1/api-keys")).json()["data"]
    process, url = await processes.api()
    done = subprocess.run(
        [
            *(sys.executable, "-m", "schemathesis.cli", "--config-file", ROOT / "schemathesis.toml", "run"),
            f"{url}/openapi.json",
            *("--header", f"Authorization: Bearer {admin.key}", "--checks", "all", "--no-color"),
            *("--seed", "1", "--max-examples", str(PER_OPERATION), "--generation-database", "none"),
        ],
        env={**os.environ, "TALLYFRAME_OWN_KEY_ID": key["id"], "no_proxy": "127.0.0.1", "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    cases = int(re.search(r"(\d+) generated", done.stdout)[1])  # type: ignore[index]  # else it fails here
    sys.stdout.write(f"{cases} cases\n")
    assert done.returncode == 0, done.stdout
    assert cases >= CASES
    assert "request_crashed" not in process.text
