"""Where the tests' servers keep their data: in memory if there is room, because each test has a database made for it.

Copying one takes about 10 ms of a core in memory, and 50 to 250 ms on a disk.
"""

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import time

from tallyframe.embedded import EmbeddedError
from tallyframe.embedded.lock import locked

MEMORY = Path("/dev/shm")  # noqa: S108  # Linux's disk in memory; only folders with random names are made in it
ROOM = 2 * 2**30  # bytes that must be free; servers need about 0.2 GiB, and others start beside us
ABANDONED = 3600.0  # seconds after which a folder that nobody holds is no longer somebody's who is just starting
_PREFIX = "tallyframe-tests-"


@contextmanager
def fast_folder() -> Iterator[Path]:
    """Make a folder for the block; what runs that were killed have left in memory is removed."""
    in_memory = MEMORY.is_dir() and shutil.disk_usage(MEMORY).free > ROOM
    if in_memory:
        _remove_abandoned()
    with tempfile.TemporaryDirectory(prefix=_PREFIX, dir=MEMORY if in_memory else None) as folder:
        yield Path(folder)


def _remove_abandoned() -> None:
    for folder in MEMORY.glob(f"{_PREFIX}*"):
        with suppress(EmbeddedError, OSError):  # in use, gone meanwhile, or somebody else's
            if folder.stat().st_mtime < time() - ABANDONED:
                with locked(folder):
                    shutil.rmtree(folder)
