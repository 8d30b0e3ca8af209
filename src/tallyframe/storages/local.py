"""Keeps media as files in a folder of this machine, for one machine and for tests."""

import asyncio
import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path
from urllib.parse import quote

from tallyframe.storages.base import StorageError
from tallyframe.storages.keys import checked

_FILE_MODE = 0o640  # the group is for a web server that reads along
_FOLDER_MODE = 0o750
_PAGE = 1000  # keys


class LocalStorage:
    """Files under `folder`, which is made when needed; `public_url` is where the API that serves them is reached.

    Keys have at most 300 characters; other than the plain ones raise StorageError, as do links on the way to a file.
    """

    name = "local"
    url_lifetime: float | None = None

    def __init__(self, folder: Path, public_url: str) -> None:
        self._folder = folder
        self._public_url = public_url.rstrip("/")

    async def put(self, key: str, data: bytes, content_type: str) -> None:  # noqa: ARG002 - the name's ending tells it
        """Keep `data` under `key`: on the disk when this returns, and no reader ever sees half of it."""
        await asyncio.to_thread(self._put, key, data)

    async def get(self, key: str) -> bytes:
        """Return the bytes of `key`. Raises StorageError, also when there are none."""
        return await asyncio.to_thread(self._get, key)

    async def size(self, key: str) -> int | None:
        """Return how many bytes `key` has; None: it isn't there. Raises StorageError, also without the folder."""
        return await asyncio.to_thread(self._size, key)

    async def listed(self, folder: str) -> AsyncIterator[Sequence[str]]:
        """Yield the keys below `folder`, 1,000 at a time; links and half-written files are none. StorageError."""
        keys = await asyncio.to_thread(self._listed, folder)
        for start in range(0, len(keys), _PAGE):
            yield keys[start : start + _PAGE]

    async def delete(self, key: str) -> None:
        """Remove `key`; removing what is not there is no error. Raises StorageError."""
        await asyncio.to_thread(self._delete, key)

    def url(self, key: str, *, download_as: str | None = None) -> str:
        """Return <public_url>/media/<key>; `download_as` becomes ?download=<name>. A bad key: StorageError."""
        suffix = "" if download_as is None else f"?download={quote(download_as, safe='')}"
        return f"{self._public_url}/media/{checked(key)}{suffix}"

    async def probe(self) -> str:
        """Write to the folder, leaving nothing, and return its path and the free space. Raises StorageError."""
        return await asyncio.to_thread(self._probe)

    async def aclose(self) -> None:
        """Nothing is held open between calls."""

    def open_path(self, key: str) -> Path | None:
        """Return the real path of `key`, or None if it is no key, no regular file, or not inside the folder."""
        try:
            path = self._path(key)
            return path if path.is_file() else None
        except (StorageError, OSError):
            return None

    def _put(self, key: str, data: bytes) -> None:
        try:
            path = self._path(key)
            path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            _replace(path, data)
            self._sync_folders(path)
        except OSError as error:
            raise _failure("write", key, error) from error

    def _get(self, key: str) -> bytes:
        try:
            return self._path(key).read_bytes()
        except OSError as error:
            raise _failure("read", key, error) from error

    def _size(self, key: str) -> int | None:
        try:
            self._folder.stat()  # a disk that isn't mounted is not the same as a file that isn't there
            found = self._at(key)
        except OSError as error:
            raise _failure("look for", key, error) from error
        return found.st_size if found and stat.S_ISREG(found.st_mode) else None

    def _at(self, key: str) -> os.stat_result | None:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            return self._path(key).stat()
        return None

    def _listed(self, folder: str) -> list[str]:
        try:
            return [f"{folder}/{name}" for name in _files(self._path(folder))]
        except OSError as error:
            raise _failure("list", folder, error) from error

    def _delete(self, key: str) -> None:
        try:
            # Where nothing was ever stored nothing is left, but what can't be looked into may still hold it.
            if self._folder.exists() and not self._folder.is_dir():
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                self._path(key).unlink()
        except OSError as error:
            raise _failure("delete", key, error) from error

    def _probe(self) -> str:
        try:
            self._folder.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
            with tempfile.TemporaryFile(prefix=".", suffix=".part", dir=self._folder) as file:
                file.write(b"probe")
            free = shutil.disk_usage(self._folder).free
        except OSError as error:
            raise _failure("write to", str(self._folder), error) from error
        return f"{self._folder} is writable, {free / 2**30:.1f} GiB free"

    def _sync_folders(self, path: Path) -> None:
        """Make the new names themselves, of the file and of folders above it, survive a power cut. Raises OSError."""
        root = self._folder.resolve()
        for folder in path.parents:
            if folder.is_relative_to(root):
                _sync_folder(folder)

    def _path(self, key: str) -> Path:
        """Return where `key` lives. Raises StorageError for a bad key, and where a link would lead elsewhere."""
        path = self._folder.resolve() / checked(key)
        try:
            real = path.resolve()
        except RuntimeError as error:  # a loop of links, on Python 3.11 and 3.12
            raise StorageError(f"The key {key!r} leads through a loop of links.") from error
        if real != path or path.is_symlink():  # a link in a loop resolves to itself from Python 3.13 on
            raise StorageError(f"The key {key!r} leads through a link.")
        return path


def _files(folder: Path) -> Iterator[str]:
    """Yield the names of the files below `folder`, relative to it. Raises OSError."""
    if not folder.is_dir():
        return
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.is_dir(follow_symlinks=False):
                yield from (f"{entry.name}/{name}" for name in _files(folder / entry.name))
            elif entry.is_file(follow_symlinks=False) and not entry.name.startswith("."):
                yield entry.name


def _replace(path: Path, data: bytes) -> None:
    """Write next to `path` and rename over it: on one file system, POSIX makes that atomic. Raises OSError."""
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


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(verb: str, what: str, error: OSError) -> StorageError:
    return StorageError(f"The local storage can't {verb} {what!r}: [{error.errno}] {error.strerror}")
