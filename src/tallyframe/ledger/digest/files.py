"""Digests as files: whole or not there at all, readable by their owner only, and never in place of another."""

import errno
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import BinaryIO
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
    """Do the same, into a folder that is there, under a name made of the digest's time."""
    name = f"tallyframe-ledger-{{:%Y%m%dT%H%M%SZ}}{SUFFIX}"
    return await _write(reader, folder, folder, lambda time: folder.joinpath(name.format(time)))


async def _write(reader: Reader, out: Path, folder: Path, path: Callable[[datetime], Path]) -> tuple[Digest, Path]:
    try:
        with _fresh(folder) as (file, fresh):
            digest = await write_digest(reader, file)
            return digest, _publish(file, fresh, path(digest.time))
    except OSError as error:
        raise NotWritten(f"{out}: the digest can't be written: {error.strerror or error}.") from None


@contextmanager
def _fresh(folder: Path) -> Iterator[tuple[BinaryIO, Path]]:
    """Yield a new file of a passing name, which is away after the block unless it has been renamed."""
    fresh = folder.joinpath(f".digest-{uuid4().hex}.new")
    try:
        with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            yield file, fresh
    finally:
        fresh.unlink(missing_ok=True)


def _publish(file: BinaryIO, fresh: Path, path: Path) -> Path:
    """Put the file in its place once it is on the disk, and then see its name onto the disk as well."""
    file.flush()
    os.fsync(file.fileno())
    if path.exists():
        raise FileExistsError(errno.EEXIST, "there is such a file already", str(path))
    fresh.rename(path)
    try:
        _sync_names(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise
    return path


def _sync_names(folder: Path) -> None:
    """Write the folder's names to the disk; after a power cut, a file without its name is none."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # a file system that keeps names in its own way, and can't be asked
            raise
    finally:
        os.close(descriptor)


def digests_in(path: Path) -> list[Path]:
    """Return the digests of a folder, oldest first, or what is no folder as it is."""
    return sorted(path.glob(f"*{SUFFIX}")) if path.is_dir() else [path]
