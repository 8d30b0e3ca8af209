"""Pictures that users have uploaded by themselves: deleted on request, or when nothing has used them for long."""

import random
from collections.abc import Mapping, Sequence
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from tallyframe.assets.rows import IS_UPLOAD
from tallyframe.assets.tables import assets
from tallyframe.db import Database, Transaction, with_writes
from tallyframe.generations.end.erase import log, users_of
from tallyframe.idempotency.keys import forget_answers
from tallyframe.outbox.rows import complete_where, enqueue, not_queued
from tallyframe.outbox.tables import outbox
from tallyframe.projects.tables import project_images
from tallyframe.storages.base import Storage

#: The worker's function that removes a deleted upload.
ERASE_UPLOAD = "erase_upload"

#: Uploads of one user that one look ends, at most.
BATCH = 100


async def delete(db: Database, user_id: UUID, asset_id: UUID) -> bool:
    """Take the upload away from its owner. False: a project or a generation of theirs uses it, or it isn't there."""
    async with db.transaction() as transaction:
        await _lock(transaction, user_id, [asset_id])
        if (await transaction.execute(users_of([asset_id], user_id))).all():
            return False
        return await _delete(transaction, user_id, assets.c.id == asset_id) > 0


async def delete_all(db: Database, user_id: UUID) -> int:
    """Take all uploads away from a user who is to be forgotten; return how many. Call it when nothing uses them."""
    async with db.transaction() as transaction:
        return await _delete(transaction, user_id, sa.true())


async def _lock(transaction: Transaction, user_id: UUID, ids: Sequence[UUID]) -> None:
    """Wait for orders that name these uploads, and have new ones wait for us. Look who uses them after that.

    An order locks what it names as well: so we see the order, or it sees that the picture is gone.
    """
    mine = (assets.c.user_id == user_id) & assets.c.id.in_(ids)
    await transaction.execute(sa.select(assets.c.id).where(mine).order_by(assets.c.id).with_for_update())


_IN_PROJECT = sa.exists().where(project_images.c.asset_id == assets.c.id)


async def _delete(transaction: Transaction, user_id: UUID, which: "sa.ColumnElement[bool]") -> int:
    """Delete those of the user's uploads that no project shows by now, and what was answered about them."""
    mine = (assets.c.user_id == user_id) & IS_UPLOAD & ~_IN_PROJECT
    update = sa.update(assets).where(mine, which).values(deleted_at=sa.func.now())
    deleted = update.returning(assets.c.id).cte("deleted")
    writes = (enqueue(ERASE_UPLOAD, deleted), forget_answers(user_id, sa.select(deleted.c.id)))
    return len((await transaction.execute(with_writes(sa.select(deleted.c.id), *writes))).all())


async def expire(db: Database, *, days: int) -> int:
    """Delete expired uploads that nothing uses, of one user; what is used is looked at again in so many days.

    Return how many were looked at: as long as there are some, call it again.
    """
    expired = (IS_UPLOAD, assets.c.expires_at < sa.func.now())
    oldest = sa.select(assets.c.user_id).where(*expired).order_by(assets.c.expires_at).limit(BATCH)
    owners = set((await db.run(oldest)).scalars())
    if not owners:
        return 0
    user_id = random.choice(list(owners))  # noqa: S311  # one whose uploads can't be looked at must not stop all
    query = sa.select(assets.c.id).where(*expired, assets.c.user_id == user_id).order_by(assets.c.expires_at)
    ids = set((await db.run(query.limit(BATCH))).scalars())
    async with db.transaction() as transaction:
        await _lock(transaction, user_id, list(ids))
        used = {row.asset_id for row in await transaction.execute(users_of(list(ids), user_id))}
        later = sa.func.now() + sa.literal(timedelta(days=days), sa.Interval())
        await transaction.execute(sa.update(assets).where(assets.c.id.in_(used)).values(expires_at=later))
        await _delete(transaction, user_id, assets.c.id.in_(ids - used))
    return len(ids)


async def erase(db: Database, storages: Mapping[str, Storage], asset_id: UUID) -> None:
    """Remove a deleted upload: bytes first, then its row. May be repeated. Raises StorageError.

    If a project has it nevertheless, it stays: API processes of the version before order and delete without a lock.
    """
    await db.run(sa.update(assets).where(assets.c.id == asset_id, _IN_PROJECT).values(deleted_at=None))
    gone = (assets.c.id == asset_id) & assets.c.deleted_at.is_not(None)
    row = (await db.run(sa.select(assets.c.storage, assets.c.key).where(gone))).one_or_none()
    if row and row.storage not in storages:
        log.warning("erase_waits", subject=str(asset_id), storages=[row.storage])
    elif row:
        await storages[row.storage].delete(row.key)
        await db.run(sa.delete(assets).where(gone))
    await db.run(complete_where(ERASE_UPLOAD, outbox.c.ref == asset_id))


async def recall(db: Database, storages: Sequence[str]) -> int:
    """Call for deleted uploads in these storages that nobody is called for; return how many."""
    waiting = sa.select(assets.c.id).where(assets.c.deleted_at.is_not(None), assets.c.storage.in_(storages))
    lost = waiting.where(not_queued(ERASE_UPLOAD, assets.c.id)).limit(BATCH).cte("lost")
    return (await db.run(enqueue(ERASE_UPLOAD, lost))).rowcount
