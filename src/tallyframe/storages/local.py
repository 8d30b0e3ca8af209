"""Keeps media as files in a folder of this machine, for one machine and for tests."""

import asyncio
import shutil
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from tallyframe.storages.base import StorageError
from tallyframe.storages.folder import Folder
from tallyframe.storages.keys import checked

_PAGE = 1000  # keys


class LocalStorage:
    """Files in `folder`, which is made when it is needed; the API at `public_url` serves them.

    A key that is none, or leads through a link, raises StorageError.
    """

    name = "local"
    url_lifetime: float | None = None

    def __init__(self, folder: Path, public_url: str) -> None:
        self._folder = Folder(folder)
        self._public_url = public_url.rstrip("/")

    async def put(self, key: str, data: bytes, content_type: str) -> None:  # noqa: ARG002 - the key's ending tells it
        """Keep `data` under `key`. It is on the disk when this returns, and no reader ever sees half of it."""
        with _attempt("write", key):
            await asyncio.to_thread(self._folder.write, key, data)

    async def get(self, key: str) -> bytes:
        """Return the bytes of `key`. Raises StorageError, also when there are none."""
        with _attempt("read", key):
            return await asyncio.to_thread(lambda: self._folder.path(key).read_bytes())

    async def size(self, key: str) -> int | None:
        """Return how many bytes `key` has; None: it isn't there. Raises StorageError, also without the folder."""
        with _attempt("look for", key):
            return await asyncio.to_thread(self._folder.size, key)

    async def listed(self, folder: str) -> AsyncIterator[Sequence[str]]:
        """Yield the keys below `folder`, 1,000 at a time, without links and half-written files. StorageError."""
        with _attempt("list", folder):
            keys = await asyncio.to_thread(self._folder.keys, folder)
        for start in range(0, len(keys), _PAGE):
            yield keys[start : start + _PAGE]

    async def delete(self, key: str) -> None:
        """Remove `key`; removing what is not there is no error. Raises StorageError."""
        with _attempt("delete", key):
            await asyncio.to_thread(self._folder.remove, key)

    def url(self, key: str, *, download_as: str | None = None) -> str:
        """Return <public_url>/media/<key>; `download_as` becomes ?download=<name>. A bad key: StorageError."""
        suffix = "" if download_as is None else f"?download={quote(download_as, safe='')}"
        return f"{self._public_url}/media/{checked(key)}{suffix}"

    async def probe(self) -> str:
        """Write to the folder, leaving nothing, and return its path and the free space. Raises StorageError."""
        root = self._folder.root
        with _attempt("write to", str(root)):
            await asyncio.to_thread(self._folder.try_to_write)
            free = (await asyncio.to_thread(shutil.disk_usage, root)).free
        return f"{root} is writable, {free / 2**30:.1f} GiB free"

    async def aclose(self) -> None:
        """Do nothing: no file stays open between calls."""

    def open_path(self, key: str) -> Path | None:
        """Return the real path of `key`, or None if it is no key, no regular file, or not inside the folder."""
        try:
            path = self._folder.path(key)
            return path if path.is_file() else None
        except (StorageError, OSError):
            return None


@contextmanager
def _attempt(verb: str, what: str) -> Iterator[None]:
    """Turn an OSError inside the block into a StorageError that says what could not be done."""
    try:
        yield
    except OSError as error:
        raise StorageError(f"The local storage can't {verb} {what!r}: [{error.errno}] {error.strerror}") from error
