"""Idempotency keys: a request's key is written together with what the request makes, so that nothing is made twice.

A second request with the same key waits, on the key's index, until the first has committed, and then finds what that
made. A refused request leaves no key. Keys are per user: another user's key is another key, even if it reads the same.
"""

import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.db import AnyRow, Database, Statement, Transaction, insert_per_row
from tallyframe.errors import IdempotencyKeyReused, RequestInProgress
from tallyframe.idempotency.tables import idempotency_keys
from tallyframe.lost import REFUSED, constraint

_TAKEN = "pk_idempotency_keys"

#: In the place of an answer: JSON's null, and not SQL's. An answer that is worked out while what it tells of is being
#: deleted, and comes to be kept after that, finds the place taken.
FORGOTTEN = sa.literal_column("'null'::jsonb", postgresql.JSONB())


@dataclass(frozen=True, slots=True)
class Key:
    """A request's key, and what it asks for."""

    user_id: UUID
    key: str
    fingerprint: bytes

    def parameters(self) -> dict[str, Any]:
        """Return the parameters that `keep` and `kept` need."""
        return {"user_id": self.user_id, "idempotency_key": self.key, "fingerprint": self.fingerprint}

    def check(self, fingerprint: bytes) -> None:
        """Raise IdempotencyKeyReused where the key was kept of a request with another fingerprint."""
        if bytes(fingerprint) != self.fingerprint:
            raise IdempotencyKeyReused


@dataclass(frozen=True, slots=True)
class Made:
    """What a request has made, and its answer where that was kept in the statement that made it."""

    ref: UUID
    answer: dict[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class Kept:
    """What the first request with a key made, and its answer, once that is known."""

    ref: UUID
    answer: dict[str, Any] | None


def fingerprint(*asked: object) -> bytes:
    """Return the SHA-256 of what is asked: JSON values, whose fields may come in any order."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True, separators=(",", ":")).encode()).digest()


_USER = sa.bindparam("user_id", type_=sa.Uuid())
_KEY = sa.bindparam("idempotency_key", type_=sa.Text())


def keep(made: sa.FromClause, answer: "sa.ColumnElement[Any] | None" = None) -> sa.Insert:
    """Return the insert of a key for the `id` of the one row of `made`, with the answer if it is known already.

    It needs `Key.parameters`.
    """
    return insert_per_row(
        idempotency_keys,
        made,
        user_id=_USER,
        key=_KEY,
        fingerprint=sa.bindparam("fingerprint", type_=sa.LargeBinary()),
        ref=made.c.id,
        **({} if answer is None else {"answer": answer}),
    )


def kept() -> sa.Select[Any]:
    """Return the query for what is kept of a request (`fingerprint`, `ref`, `answer`); it needs `Key.parameters`."""
    row = idempotency_keys.c
    return sa.select(row.fingerprint, row.ref, row.answer).where(row.user_id == _USER, row.key == _KEY)


FIND = Statement[AnyRow]("find_key", kept(), dict)


def keep_with(act: sa.FromClause, key: Key, ref: UUID) -> sa.Insert:
    """Return the insert of a key for `ref`, which inserts nothing when `act` is empty. It needs no parameters."""
    return insert_per_row(idempotency_keys, act, user_id=key.user_id, key=key.key, fingerprint=key.fingerprint, ref=ref)


async def keep_for(transaction: Transaction, ref: UUID, key: Key) -> None:
    """Insert the key of a request that has made `ref` in this transaction."""
    row = {"user_id": key.user_id, "key": key.key, "fingerprint": key.fingerprint, "ref": ref}
    await transaction.execute(sa.insert(idempotency_keys).values(**row))


def refuse_if_taken(error: Exception) -> None:
    """Raise RequestInProgress where a write failed because another request with its key has just been accepted."""
    if constraint(error) == _TAKEN:
        raise RequestInProgress from error


@contextmanager
def in_progress_when_taken() -> Iterator[None]:
    """Raise RequestInProgress when another request with the key has just been accepted."""
    try:
        yield
    except REFUSED as error:
        refuse_if_taken(error)
        raise


async def find(db: Database, key: Key) -> Kept | None:
    """Return what the request with the key has made, if anything; raise IdempotencyKeyReused for another request."""
    found = await db.find(FIND, user_id=key.user_id, idempotency_key=key.key)
    if found is None:
        return None
    key.check(found["fingerprint"])
    return Kept(found["ref"], found["answer"])


async def remember(db: Database, key: Key, answer: dict[str, Any]) -> dict[str, Any]:
    """Keep the answer, unless one is kept already, or was and is forgotten; return the one that is kept, or this."""
    row = idempotency_keys.c
    mine = (row.user_id == key.user_id) & (row.key == key.key)
    first = sa.func.coalesce(row.answer, sa.literal(answer, row.answer.type))
    kept = await db.run(sa.update(idempotency_keys).where(mine).values(answer=first).returning(row.answer))
    return dict(kept.scalar_one_or_none() or answer)


def forget_answers(user_id: UUID, refs: sa.SelectBase) -> sa.Update:
    """Return the update that removes the kept answers about deleted things; the keys stay taken."""
    mine = (idempotency_keys.c.user_id == user_id) & idempotency_keys.c.ref.in_(refs)
    return sa.update(idempotency_keys).where(mine).values(answer=FORGOTTEN)


def forget_all_answers(user_id: UUID) -> sa.Update:
    """Return the update that removes all answers kept for a user."""
    mine = (idempotency_keys.c.user_id == user_id) & (idempotency_keys.c.answer.is_distinct_from(FORGOTTEN))
    return sa.update(idempotency_keys).where(mine).values(answer=FORGOTTEN)


async def prune(db: Database, *, hours: int) -> int:
    """Remove keys that are older than so many hours; return how many."""
    age = sa.func.now() - sa.literal(timedelta(hours=hours), sa.Interval())
    return (await db.run(sa.delete(idempotency_keys).where(idempotency_keys.c.created_at < age))).rowcount
