"""Digests as files: complete or not there at all, readable by their owner only, and never in place of another file."""

import errno
import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from uuid import uuid4

from tallyframe.db import Reader
from tallyframe.errors import Unavailable
from tallyframe.ledger.digest.writer import Digest, write_digest

SUFFIX = ".jsonl"


class NotWritten(Unavailable):
    """The digest can't be written; the message says why."""


async def write_file(reader: Reader, path: Path) -> tuple[Digest, Path]:
    """Write a digest to a new file of that name; return it and the path.

    `reader` must be a snapshot. Raises NotWritten, and leaves nothing behind then.
    """
    return await _write(reader, path, path.parent, lambda _: path)


async def write_into(reader: Reader, folder: Path) -> tuple[Digest, Path]:
    """Do the same in a folder that exists, under a name made of the digest's time."""
    name = f"tallyframe-ledger-{{:%Y%m%dT%H%M%SZ}}{SUFFIX}"
    return await _write(reader, folder, folder, lambda time: folder.joinpath(name.format(time)))


async def _write(reader: Reader, out: Path, folder: Path, path_at: Callable[[datetime], Path]) -> tuple[Digest, Path]:
    """Write to a file of a passing name, and give it its own name once the bytes are on the disk."""
    fresh = folder.joinpath(f".digest-{uuid4().hex}.new")
    try:
        try:
            with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                digest = await write_digest(reader, file)
                file.flush()
                os.fsync(file.fileno())
            path = path_at(digest.time)
            _rename(fresh, path)
        finally:
            fresh.unlink(missing_ok=True)
    except OSError as error:
        raise NotWritten(f"{out}: the digest can't be written: {error.strerror or error}.") from None
    return digest, path


def _rename(fresh: Path, path: Path) -> None:
    """Give the file its name, for good: a file whose name is not on the disk is lost in a power cut."""
    if path.exists():
        raise FileExistsError(errno.EEXIST, "there is such a file already", str(path))
    fresh.rename(path)
    try:
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system whose folders can't be synced keeps names in its own way
            path.unlink(missing_ok=True)
            raise


def digests_in(path: Path) -> list[Path]:
    """Return the digests in a folder, oldest first; a path that is no folder, as it is."""
    return sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
