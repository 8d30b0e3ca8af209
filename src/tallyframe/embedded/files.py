"""The data folder: private to its owner, files replaced as a whole, each failure an error of one line."""

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


@dataclass(frozen=True)
class User:
    """The user that a server runs as, instead of root."""

    uid: int
    gid: int


@contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Turn an OSError inside the block into an EmbeddedError of one line that names `folder`."""
    try:
        yield
    except OSError as error:
        raise EmbeddedError(f"Cannot use {folder} as data folder: {error.strerror or error}.") from error


def make_folder(folder: Path) -> None:
    """Make `folder` (mode 0700) and its parents, unless it exists; raises EmbeddedError."""
    with writing(folder):
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)


def write_private(path: Path, text: str, owner: User | None = None) -> None:
    """Put `text` in a new file, mode 0600 from the first moment, on the disk when this returns. Raises OSError."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w") as file:  # noqa: PTH123 - a descriptor
        if owner is not None:
            os.fchown(descriptor, owner.uid, owner.gid)
        file.write(text)
        file.flush()
        os.fsync(descriptor)


def write_json(path: Path, content: object) -> None:
    """Put `content` at `path`, mode 0600; a reader sees the whole old file or the whole new one. EmbeddedError."""
    new = path.with_name(f"{path.name}.new")
    with writing(path.parent):
        new.unlink(missing_ok=True)
        write_private(new, json.dumps(content))
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


def server_user(folder: Path) -> User | None:
    """Return the user for a server that keeps its data in `folder`; None: the user that we are.

    Only root can change users: to the owner of the folder, else of its parent, and to nobody if both are root's.
    """
    if os.geteuid() != 0:
        return None
    for place in (folder, folder.parent):
        if place.exists() and (found := place.stat()).st_uid != 0:
            return User(found.st_uid, found.st_gid)
    return User(_NOBODY, _NOBODY)


def make_server_folder(folder: Path, user: User | None) -> None:
    """Make `folder` private to `user`; a copy that belongs to root is given to `user` with its content."""
    with writing(folder.parent):
        folder.mkdir(mode=0o700, exist_ok=True)
        if user is None or folder.stat().st_uid == user.uid:
            return
        for place, _, names in os.walk(folder):
            for path in (place, *(f"{place}/{name}" for name in names)):
                os.chown(path, user.uid, user.gid, follow_symlinks=False)
        folder.chmod(0o700)


def remove_folder(folder: Path) -> None:
    """Remove `folder` with its content, if it exists; raises EmbeddedError."""
    with writing(folder.parent):
        if folder.exists():
            shutil.rmtree(folder)
