"""The rows of API keys: make one, list them, revoke them, find whose a key is."""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import sqlalchemy as sa

from tallyframe.accounts.api_keys import last_four, new_api_key, secret_hash
from tallyframe.accounts.tables import api_keys, users
from tallyframe.accounts.users import User, select_user
from tallyframe.db import Database, Transaction
from tallyframe.errors import NotFound
from tallyframe.ids import new_id


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


async def listed(db: Database, user_id: UUID) -> list[ApiKey]:
    """Return the user's keys that still work, newest first."""
    query = sa.select(*_COLUMNS).where(api_keys.c.user_id == user_id, api_keys.c.revoked_at.is_(None))
    return [ApiKey(*row) for row in (await db.run(query.order_by(api_keys.c.id.desc()))).all()]


async def revoke(db: Database, user_id: UUID, key_id: UUID) -> bytes:
    """Revoke the user's key and return its hash; raise NotFound if it isn't theirs or was revoked before."""
    mine = (api_keys.c.id == key_id) & (api_keys.c.user_id == user_id) & api_keys.c.revoked_at.is_(None)
    update = sa.update(api_keys).where(mine).values(revoked_at=sa.func.now()).returning(api_keys.c.secret_hash)
    row = (await db.run(update)).one_or_none()
    if row is None:
        raise NotFound
    return bytes(row[0])


async def revoke_all(transaction: Transaction, user_id: UUID) -> list[bytes]:
    """Revoke all of the user's keys and return their hashes."""
    working = (api_keys.c.user_id == user_id) & api_keys.c.revoked_at.is_(None)
    update = sa.update(api_keys).where(working).values(revoked_at=sa.func.now()).returning(api_keys.c.secret_hash)
    return [bytes(hashed) for hashed in (await transaction.execute(update)).scalars()]


async def owner(db: Database, hashed: bytes) -> User | None:
    """Return the user whose working key has this SHA-256, if any."""
    works = (api_keys.c.secret_hash == hashed) & api_keys.c.revoked_at.is_(None)
    query = select_user().join(api_keys, api_keys.c.user_id == users.c.id).where(works)
    row = (await db.run(query)).one_or_none()
    return User(*row) if row else None
