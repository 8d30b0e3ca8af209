"""Forget users who have been deleted: all that they have made and sent goes. The ledger and the receipts stay."""

import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from tallyframe.accounts import keys, profiles
from tallyframe.accounts.tables import users
from tallyframe.assets.rows import IS_UPLOAD
from tallyframe.assets.tables import assets
from tallyframe.db import Database, Transaction
from tallyframe.generations.end import erase, settle, uploads
from tallyframe.generations.end.sweep import UNDER_WAY, tried
from tallyframe.generations.tables import IS_LIVE, generations
from tallyframe.idempotency.keys import forget_all_answers
from tallyframe.projects.tables import changed, projects

#: Projects, or generations, that one round takes away, at most; the next round goes on.
BATCH = 100
#: Users of one round, of those who were deleted long ago and of the others.
USERS = 50

GONE = "The user has been deleted."


async def delete_user(transaction: Transaction, issuer: str, subject: str) -> tuple[UUID, Sequence[bytes]] | None:
    """Delete the user for good: keys stop, nothing is shown any more, and workers forget the rest soon after.

    Return the user's id and the hashes of the keys that have stopped; None: the user has been deleted before.
    """
    user_id = await profiles.delete_user(transaction, issuer, subject)
    if user_id is None:
        return None
    hashes = await keys.revoke_all(transaction, user_id)
    shown = (projects.c.user_id == user_id) & projects.c.deleted_at.is_(None) & projects.c.is_published
    hide = sa.update(projects).where(shown).values(is_published=False, published_at=None, **changed())
    await transaction.execute(hide)
    return user_id, hashes


async def forget(db: Database) -> int:
    """Go on with some of the users who were deleted and aren't forgotten; return how much was taken away.

    A user is forgotten when nothing is left, ten minutes after the deletion: until then, an order that was under way
    may still be accepted. Several may do this at once. Raises Unavailable.
    """
    row = users.c
    waiting = (row.deleted_at.is_not(None), row.forgotten_at.is_(None))
    is_over = row.deleted_at < sa.func.now() - sa.literal(timedelta(seconds=UNDER_WAY), sa.Interval())
    old = sa.select(row.id, is_over).where(*waiting, is_over).order_by(row.deleted_at).limit(USERS)
    new = sa.select(row.id, is_over).where(*waiting, ~is_over).order_by(row.deleted_at.desc()).limit(USERS)
    found = [*(await db.run(old)).all(), *(await db.run(new)).all()]
    random.shuffle(found)  # and each by itself: one who can't be forgotten now must not keep the others
    return sum([await tried(db, _forget_one(db, *each), f"forget {each[0]}") for each in found])


async def _forget_one(db: Database, user_id: UUID, is_final: bool) -> int:  # noqa: FBT001  # a column
    taken = await _take_away(db, user_id)
    await db.run(forget_all_answers(user_id))
    if not taken and is_final:
        is_there = sa.or_(*(each.exists() for each in _what_is_there(user_id)))
        await db.run(sa.update(users).where(users.c.id == user_id, ~is_there).values(forgotten_at=sa.func.now()))
    return taken


def _what_is_there(user_id: UUID) -> "tuple[sa.Select[UUID], ...]":
    """Return the queries for what lives, projects, generations without one, and uploads, the newest of each first.

    Whoever erases the files of one looks for later orders that name one, and so finds few.
    """
    own, alone = generations.c.user_id == user_id, generations.c.project_id.is_(None)
    live = sa.select(generations.c.id).where(own, IS_LIVE)
    shown = sa.select(projects.c.id).where(projects.c.user_id == user_id, projects.c.deleted_at.is_(None))
    ended = sa.select(generations.c.id).where(own, alone, generations.c.deleted_at.is_(None))
    uploaded = sa.select(assets.c.id).where(assets.c.user_id == user_id, IS_UPLOAD)
    newest = (projects.c.id.desc().nulls_last(), generations.c.id.desc().nulls_last())
    return live, shown.order_by(newest[0]), ended.order_by(newest[1]), uploaded


async def _take_away(db: Database, user_id: UUID) -> int:
    """Cancel what lives, with a refund; delete projects, then what has none, then uploads, which nothing uses then."""
    live, shown, ended, _ = _what_is_there(user_id)
    taken = await _each(db, live, lambda each: settle.cancel(db, each, GONE))
    taken += await _each(db, shown, lambda each: erase.delete(db, user_id, each))
    taken += await _each(db, ended, lambda each: erase.delete_generation(db, user_id, each))
    return taken or await uploads.delete_all(db, user_id)


async def _each(db: Database, which: "sa.Select[UUID]", end: Callable[[UUID], Awaitable[bool]]) -> int:
    found = (await db.run(which.limit(BATCH))).scalars().all()
    return sum([await tried(db, end(each), f"forget {each}") for each in found])
