"""Is what an API process has after its start left alone by the garbage collector?"""

import subprocess
import sys
from pathlib import Path

_SERVE = """
import gc
from tallyframe.main import serve
app = serve()
print(gc.get_freeze_count(), len(gc.get_objects()))
"""


def test_what_is_there_after_the_start_is_never_walked_through_again(tmp_path: Path) -> None:
    urls = {
        "TALLYFRAME_DATABASE_URL": "postgresql://nobody@127.0.0.1:1/none",
        "TALLYFRAME_REDIS_URL": "redis://127.0.0.1:1",
    }
    path = {"PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    done = subprocess.run(
        [sys.executable, "-c", _SERVE], env=urls | path, cwd=tmp_path, capture_output=True, text=True, check=True
    )
    frozen, walked = (int(word) for word in done.stdout.split()[-2:])
    assert frozen > 100_000
    assert walked < 1_000
