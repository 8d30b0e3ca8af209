"""The data folder: made private, written whole or not at all, every failure one line."""

import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tallyframe.embedded.errors import EmbeddedError

_NOBODY = 65534


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn whatever the file system refuses inside the block into one EmbeddedError that names `folder`."""
    try:
        yield
    except OSError as error:
        raise EmbeddedError(f"Cannot use {folder} as data folder: {error.strerror or error}.") from error


def make_folder(folder: Path) -> None:
    """Make `folder` with its parents, readable by its owner only, unless it is there; raises EmbeddedError."""
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_json(path: Path, content: object) -> None:
    """Put `content` at `path`, mode 0600; a reader sees the old file or the new one, never a half.

    Raises EmbeddedError.
    """
    new = path.with_name(f"{path.name}.new")
    with writing(path.parent):
        new.unlink(missing_ok=True)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123 - a descriptor
            json.dump(content, file)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """Read what `write_json` left at `path`, or {} if there is nothing; raises EmbeddedError if it cannot be read."""
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise EmbeddedError(f"Cannot read {path}: {error}.") from error
    return content if isinstance(content, dict) else {}


@dataclass(frozen=True)
class User:
    """Whom a server runs as, instead of root."""

    uid: int
    gid: int


def server_user(folder: Path) -> User | None:
    """Name the user for a server that keeps its data in `folder`; None means: as whoever we are.

    Only root has a choice: the owner of the folder, or of the one around it, and nobody if both are root's.
    """
    if os.geteuid() != 0:
        return None
    for place in (folder, folder.parent):
        if place.exists() and (found := place.stat()).st_uid != 0:
            return User(found.st_uid, found.st_gid)
    return User(_NOBODY, _NOBODY)


def make_server_folder(folder: Path, user: User | None) -> None:
    """Make `folder` private to `user`; one that root owns, as a copy would be, is handed over with all inside."""
    with writing(folder.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
        if user is None or folder.stat().st_uid == user.uid:
            return
        for place, _, names in os.walk(folder):
            for path in (place, *(f"{place}/{name}" for name in names)):
                os.chown(path, user.uid, user.gid, follow_symlinks=False)
        folder.chmod(0o700)


def remove_folder(folder: Path) -> None:
    """Remove `folder` with all inside, if it is there; raises EmbeddedError."""
    with writing(folder.parent):
        if folder.exists():
            shutil.rmtree(folder)
