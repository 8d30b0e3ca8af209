"""API keys: their form, and their rows: make one, list them, revoke them, find whose a key is.

A key is `tf_`, 32 random base62 characters, and a checksum of 6 more. The form is the one GitHub chose for its tokens:
the prefix lets a scanner find a leaked key, and the checksum lets it, and us, refuse a typing error without a look-up.
The checksum is no secret and proves nothing about who made the key.
"""

import hashlib
import re
import secrets
import string
import zlib
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tallyframe.accounts.tables import api_keys, users
from tallyframe.accounts.users import SELECT_USER, User
from tallyframe.db import Database, Transaction
from tallyframe.errors import NotFound
from tallyframe.ids import new_id

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


@dataclass(frozen=True, slots=True)
class ApiKey:
    """A key without its secret, which is kept nowhere."""

    id: UUID
    name: str
    last_four: str
    created_at: datetime


_COLUMNS = [api_keys.c[name] for name in ("id", "name", "last_four", "created_at")]


async def make(transaction: Transaction, user_id: UUID, name: str) -> tuple[ApiKey, str]:
    """Insert a new key for the user and return it with its secret, for the only time."""
    secret = new_api_key()
    row = {"id": new_id(), "user_id": user_id, "name": name, "secret_hash": secret_hash(secret)}
    insert = sa.insert(api_keys).values(**row, last_four=last_four(secret)).returning(*_COLUMNS)
    return ApiKey(*(await transaction.execute(insert)).one()), secret


async def listed(db: Database, user_id: UUID, *, before: UUID | None, limit: int) -> list[ApiKey]:
    """Return up to `limit` of the user's keys that still work, newest first, older than `before`."""
    query = sa.select(*_COLUMNS).where(_works(user_id), api_keys.c.id < before if before else sa.true())
    return [ApiKey(*row) for row in (await db.run(query.order_by(api_keys.c.id.desc()).limit(limit))).all()]


async def find(db: Database, user_id: UUID, key_id: UUID) -> ApiKey | None:
    """Return the user's key, if it still works."""
    row = (await db.run(sa.select(*_COLUMNS).where(_works(user_id), api_keys.c.id == key_id))).one_or_none()
    return ApiKey(*row) if row else None


def _works(user_id: UUID) -> "sa.ColumnElement[bool]":
    return (api_keys.c.user_id == user_id) & api_keys.c.revoked_at.is_(None)


async def revoke(db: Database, user_id: UUID, key_id: UUID) -> bytes:
    """Revoke the user's key and return its hash; raise NotFound if it isn't theirs or was revoked before."""
    mine = _works(user_id) & (api_keys.c.id == key_id)
    update = sa.update(api_keys).where(mine).values(revoked_at=sa.func.now()).returning(api_keys.c.secret_hash)
    row = (await db.run(update)).one_or_none()
    if row is None:
        raise NotFound
    return bytes(row[0])


async def revoke_all(transaction: Transaction, user_id: UUID) -> list[bytes]:
    """Revoke all of the user's keys and return their hashes."""
    update = (
        sa.update(api_keys).where(_works(user_id)).values(revoked_at=sa.func.now()).returning(api_keys.c.secret_hash)
    )
    return [bytes(hashed) for hashed in (await transaction.execute(update)).scalars()]


_OWNER = SELECT_USER.join(api_keys, api_keys.c.user_id == users.c.id).where(
    api_keys.c.secret_hash == sa.bindparam("hashed"), api_keys.c.revoked_at.is_(None)
)


async def owner(db: Database, hashed: bytes) -> User | None:
    """Return the user whose working key has this SHA-256, if any."""
    row = (await db.run(_OWNER, {"hashed": hashed})).one_or_none()
    return User(*row) if row else None
