"""API keys: `tf_`, 32 random base62 characters, and a checksum of 6 more.

The form is the one GitHub chose for its tokens: the prefix lets a scanner find a leaked key, and the checksum lets it,
and us, refuse a typing error without a look-up. The checksum is no secret and proves nothing about who made the key.
"""

import hashlib
import re
import secrets
import string
import zlib

_ALPHABET = string.digits + string.ascii_uppercase + string.ascii_lowercase
_PREFIX = "tf_"
_RANDOM_LENGTH = 32  # 62**32 is about 2**190
_CHECKSUM_LENGTH = 6  # 62**6 > 2**32, so every CRC-32 fits
_FORM = re.compile(rf"{_PREFIX}[0-9A-Za-z]{{{_RANDOM_LENGTH + _CHECKSUM_LENGTH}}}")


def new_api_key() -> str:
    """A new key of 41 characters from the system's secure randomness. Show it once; keep `secret_hash` of it."""
    unchecked = _PREFIX + "".join(secrets.choice(_ALPHABET) for _ in range(_RANDOM_LENGTH))
    return unchecked + _checksum(unchecked)


def looks_valid(key: str) -> bool:
    """Whether `key` has the form and the checksum of a key; says nothing about whether it was ever given out."""
    if not _FORM.fullmatch(key):
        return False
    return _checksum(key[:-_CHECKSUM_LENGTH]) == key[-_CHECKSUM_LENGTH:]


def secret_hash(key: str) -> bytes:
    """The 32 bytes under which a key is stored and looked up.

    Plain SHA-256: a key has 190 bits of randomness, so there is nothing to guess that a slow hash would slow down.
    """
    return hashlib.sha256(key.encode()).digest()


def last_four(key: str) -> str:
    """The end of a key, by which its owner tells it from others. It is checksum, so it gives little away."""
    return key[-4:]


def _checksum(text: str) -> str:
    value = zlib.crc32(text.encode("ascii"))
    digits = ""
    for _ in range(_CHECKSUM_LENGTH):
        value, remainder = divmod(value, len(_ALPHABET))
        digits = _ALPHABET[remainder] + digits
    return digits
