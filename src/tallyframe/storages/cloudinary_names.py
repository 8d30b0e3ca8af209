"""How accounts, files and downloads are named at Cloudinary.

A public id has no ending for images and videos, at most 255 characters, and no folder named "v" and a number:
https://cloudinary.com/documentation/ts_permitted_naming_conventions
"""

import re
import unicodedata
from dataclasses import dataclass, field

from tallyframe.storages.base import StorageError
from tallyframe.storages.keys import checked

_LONGEST_PUBLIC_ID = 255  # characters
_LONGEST_FILE_NAME = 100  # characters
_RESOURCE_TYPES = {"png": "image", "jpg": "image", "webp": "image", "mp4": "video"}
_URL = re.compile(
    r"cloudinary://(?P<key>[^:@/?#\s]+):(?P<secret>[^:@/?#\s]+)@(?P<cloud>[A-Za-z0-9_-]+)"
    r"(\?signature_algorithm=(?P<algorithm>sha1|sha256))?"
)


@dataclass(frozen=True, slots=True)
class Account:
    """The credentials of an account. `algorithm`, "sha1" or "sha256", is for the signatures of its calls."""

    cloud: str
    key: str = field(repr=False)
    secret: str = field(repr=False)
    algorithm: str


@dataclass(frozen=True, slots=True)
class Place:
    """Where a file is kept: `resource_type` is "image" or "video"; `ending` is its format's, as in "png"."""

    resource_type: str
    public_id: str
    ending: str


def account_of(url: str) -> Account:
    """Read CLOUDINARY_URL. ValueError, which does not quote it, if it is malformed."""
    found = _URL.fullmatch(url)
    if not found:
        raise ValueError("CLOUDINARY_URL has to be like cloudinary://<api key>:<api secret>@<cloud name>.")
    return Account(found["cloud"], found["key"], found["secret"], found["algorithm"] or "sha1")


def place_of(key: str) -> Place:
    """Return where `key` is kept; StorageError for one that Cloudinary can't keep.

    The ending is in the public id too, so that image.png and image.jpg are two files there as well.
    """
    stem, _, ending = checked(key).rpartition(".")
    public_id = f"{stem}-{ending}"
    if ending not in _RESOURCE_TYPES or len(public_id) > _LONGEST_PUBLIC_ID or re.search(r"(^|/)v\d+/", public_id):
        raise StorageError(
            f"Cloudinary can't keep {key!r}: it has to end in {', '.join(f'.{each}' for each in _RESOURCE_TYPES)},"
            f" have at most {_LONGEST_PUBLIC_ID} characters and no folder like v1."
        )
    return Place(_RESOURCE_TYPES[ending], public_id, ending)


def file_name(name: str, ending: str) -> str:
    """Return what Cloudinary takes of `name` for a download: letters, digits, "-" and "_". It adds the ending."""
    stem = name[: -len(ending) - 1] if name.lower().endswith(f".{ending}") else name
    letters = "".join(each for each in unicodedata.normalize("NFKD", stem) if not unicodedata.combining(each))
    return re.sub(r"[^A-Za-z0-9_-]+", "_", letters)[:_LONGEST_FILE_NAME].strip("_")
