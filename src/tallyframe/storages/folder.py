"""Files by key in a folder of this machine. Blocking; every call raises OSError, and StorageError for a bad key."""

import contextlib
import errno
import os
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

from tallyframe.storages.base import StorageError
from tallyframe.storages.keys import checked

_FILE_MODE = 0o640  # the group is for a web server that reads along
_FOLDER_MODE = 0o750


class Folder:
    """The files below `root`, which is made when the first is written."""

    def __init__(self, root: Path) -> None:
        self.root = root

    def path(self, key: str) -> Path:
        """Return where `key` lives. StorageError also where a link on the way would lead elsewhere."""
        path = self.root.resolve() / checked(key)
        try:
            real = path.resolve()
        except RuntimeError as error:  # a loop of links, on Python 3.11 and 3.12
            raise StorageError(f"The key {key!r} leads through a loop of links.") from error
        if real != path or path.is_symlink():  # a link in a loop resolves to itself from Python 3.13 on
            raise StorageError(f"The key {key!r} leads through a link.")
        return path

    def write(self, key: str, data: bytes) -> None:
        """Replace `key` as a whole, also for readers: by a rename, which POSIX makes atomic within one file system.

        File and folders are synced, so that both the bytes and the names survive a power cut.
        """
        path = self.path(key)
        path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)
        temporary = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(descriptor, _FILE_MODE)
                file.write(data)
                file.flush()
                os.fsync(descriptor)
            temporary.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink()
            raise
        root = self.root.resolve()
        for folder in (each for each in path.parents if each.is_relative_to(root)):
            descriptor = os.open(folder, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def size(self, key: str) -> int | None:
        """Return how many bytes `key` has; None: there is no such file. Without the folder: OSError."""
        self.root.stat()  # a disk that isn't mounted is not the same as a file that isn't there
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            found = self.path(key).stat()
            return found.st_size if stat.S_ISREG(found.st_mode) else None
        return None

    def keys(self, folder: str) -> list[str]:
        """Return the keys of all files below `folder`; links and temporary files are left out."""
        return [f"{folder}/{name}" for name in _files(self.path(folder))]

    def remove(self, key: str) -> None:
        """Remove `key`, if it is there. If `root` is not a folder, it may be there all the same: OSError."""
        if self.root.exists() and not self.root.is_dir():
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            self.path(key).unlink()

    def try_to_write(self) -> None:
        """Write a few bytes to a file that is gone when this returns."""
        self.root.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
        with tempfile.TemporaryFile(prefix=".", suffix=".part", dir=self.root) as file:
            file.write(b"probe")


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of the files below `folder`, relative to it."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from (f"{entry.name}/{name}" for name in _files(folder / entry.name))
            elif entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                yield entry.name
