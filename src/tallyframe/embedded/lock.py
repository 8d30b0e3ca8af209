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
    """Hold the lock of `folder`, which is made if it is missing; raises EmbeddedError if another process holds it.

    The kernel releases the lock when we die. The file stays, and tells others our process id.
    """
    make_folder(folder)
    with writing(folder):
        descriptor = os.open(folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        with writing(folder):
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                holder = os.pread(descriptor, 20, 0).decode(errors="replace").strip() or "unknown"
                raise EmbeddedError(f"Another `tallyframe dev` (pid {holder}) is using {folder}.") from None
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, f"{os.getpid()}\n".encode(), 0)
        yield
    finally:
        os.close(descriptor)
