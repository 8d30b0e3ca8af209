"""One stack per data folder."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.files import make_folder, writing


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Hold `folder`, made if need be, for the block; raises EmbeddedError if it is held or cannot be written.

    The kernel lets go when we die, so the file itself may stay behind: it only tells others who we are.
    """
    make_folder(folder)
    with writing(folder):
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        _take(descriptor, folder)
        yield
    finally:
        os.close(descriptor)


def _take(descriptor: int, folder: Path) -> None:
    """Lock the file and write our process id in it."""
    with writing(folder):
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
            raise EmbeddedError(f"Another `tallyframe dev` (pid {holder}) is using {folder}.") from None
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
