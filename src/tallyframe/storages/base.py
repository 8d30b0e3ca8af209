"""The port that every storage implements. The keys are ours: writing a key again replaces its bytes."""

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

#: content type → the ending of its key
EXTENSIONS = {"image/png": "png", "image/jpeg": "jpg", "image/webp": "webp", "video/mp4": "mp4"}


class StorageError(Exception):
    """The storage can't be reached, or refuses. The message is for operators."""


class NoListing(StorageError):
    """The storage can't tell what it holds."""


class Storage(Protocol):
    """Keeps bytes under a key such as "generations/<id>/image-1.png" (lower case, digits, '-', '_', '.', '/').

    `url_lifetime`: the seconds for which an address from `url` works; None: for as long as the file is there.
    """

    name: str
    url_lifetime: float | None

    async def put(self, key: str, data: bytes, content_type: str) -> None:
        """Keep `data` under `key` in place of what was there, as a whole or not at all. Raises StorageError."""
        ...

    async def get(self, key: str) -> bytes:
        """Return the bytes of `key`. Raises StorageError, also when there are none."""
        ...

    async def size(self, key: str) -> int | None:
        """Return how many bytes `key` has, without reading them; None: the storage says that there is no such file.

        With wrong settings, such as another bucket, it may say so of every file; `probe` finds that out. Raises
        StorageError.
        """
        ...

    def listed(self, folder: str) -> AsyncIterator[Sequence[str]]:
        """Yield the keys below `folder`, page by page, in no order. Raises StorageError, and NoListing if it can't."""
        ...

    async def delete(self, key: str) -> None:
        """Remove `key`; removing what is not there is no error. Raises StorageError."""
        ...

    def url(self, key: str, *, download_as: str | None = None) -> str:
        """Return the address a browser reads `key` from; with `download_as`, as a file of that name. No I/O."""
        ...

    async def probe(self) -> str:
        """Make a call that is free, and return a line about what was found. Raises StorageError."""
        ...

    async def aclose(self) -> None:
        """Close the connections."""
        ...


@dataclass(frozen=True, slots=True)
class Storages:
    """`current` takes new files; `by_name` also has the storages of earlier settings, for the files stored there.

    `open_path` returns the file of a key of the local storage, which our API serves; None if there is no such file.
    """

    current: Storage
    by_name: Mapping[str, Storage]
    open_path: Callable[[str], Path | None]
