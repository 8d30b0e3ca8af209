"""What a storage key may be, for all storages alike."""

import re

from tallyframe.storages.base import StorageError

#: One path, relative, of plain segments. No segment starts with a dot, so temporary files have names no key can have.
_KEY = re.compile(r"(?=.{1,300}\Z)(?!.*\.\.)[a-z0-9_-][a-z0-9._-]*(/[a-z0-9_-][a-z0-9._-]*)*")


def checked(key: str) -> str:
    """Return the key as it is; StorageError for what is none: keys are plain and have at most 300 characters."""
    if not _KEY.fullmatch(key):
        raise StorageError(f"{key[:300]!r} is no storage key.")
    return key
