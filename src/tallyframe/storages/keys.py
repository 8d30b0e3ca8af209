"""The syntax of storage keys, the same for all storages."""

import re

from tallyframe.storages.base import StorageError

#: A relative path of plain segments. No segment starts with a dot, as the names of temporary files do.
_KEY = re.compile(r"(?=.{1,300}\Z)(?!.*\.\.)[a-z0-9_-][a-z0-9._-]*(/[a-z0-9_-][a-z0-9._-]*)*")


def checked(key: str) -> str:
    """Return the key unchanged. StorageError if it is malformed, or has more than 300 characters."""
    if not _KEY.fullmatch(key):
        raise StorageError(f"{key[:300]!r} is no storage key.")
    return key
