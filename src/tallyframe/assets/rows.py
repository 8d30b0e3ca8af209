"""Rows of assets, which only their owner finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa

from tallyframe.assets.tables import UPLOAD, assets
from tallyframe.db import Database, insert_per_row, with_writes
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Key


@dataclass(frozen=True, slots=True)
class Asset:
    """One stored file."""

    id: UUID
    storage: str
    key: str
    content_type: str
    bytes: int
    sha256: str
    width: int | None  # pixels
    height: int | None  # pixels
    duration_seconds: float | None


COLUMNS = [assets.c[name] for name in Asset.__dataclass_fields__]


async def find(db: Database, user_id: UUID, asset_ids: Sequence[UUID]) -> dict[UUID, Asset]:
    """Return those of the assets that exist and belong to the user, by id."""
    if not asset_ids:
        return {}
    mine = (assets.c.user_id == user_id) & assets.c.deleted_at.is_(None)
    query = sa.select(*COLUMNS).where(mine, assets.c.id.in_(asset_ids))
    return {row.id: Asset(*row) for row in (await db.run(query)).all()}


#: A picture that was uploaded by itself, for later orders, and is not deleted.
IS_UPLOAD = sa.and_(sa.literal_column(UPLOAD, sa.Boolean()), assets.c.deleted_at.is_(None))


@dataclass(frozen=True, slots=True)
class Usage:
    """How many uploads a user has, and their bytes."""

    assets: int
    bytes: int


@dataclass(frozen=True, slots=True)
class Quota:
    """What one user may have uploaded, and how long it stays unused."""

    assets: int
    bytes: int
    unused_days: int


async def uploads(db: Database, user_id: UUID, *, before: UUID | None, limit: int) -> list[Asset]:
    """Return up to `limit` of the user's uploads, newest first, older than `before`."""
    mine = sa.select(*COLUMNS).where(assets.c.user_id == user_id, IS_UPLOAD)
    page = mine.where(assets.c.id < before) if before else mine
    return [Asset(*row) for row in (await db.run(page.order_by(assets.c.id.desc()).limit(limit))).all()]


async def is_upload(db: Database, user_id: UUID, asset_id: UUID) -> bool:
    """Return whether the user has uploaded this by itself, and has not deleted it."""
    mine = (assets.c.user_id == user_id) & (assets.c.id == asset_id)
    return bool((await db.run(sa.select(sa.exists().where(mine, IS_UPLOAD)))).scalar_one())


def _usage(user_id: UUID) -> "sa.Select[int, int]":
    figures = (sa.func.count(), sa.cast(sa.func.coalesce(sa.func.sum(assets.c.bytes), 0), sa.BigInteger()))
    return sa.select(*figures).where(assets.c.user_id == user_id, IS_UPLOAD)


async def usage(db: Database, user_id: UUID) -> Usage:
    """Return what the user has uploaded."""
    return Usage(*(await db.run(_usage(user_id))).one())


async def keep(db: Database, user_id: UUID, asset: Asset, quota: Quota, key: Key | None) -> bool:
    """Insert a picture for later orders, which belongs to no project yet, and the request's idempotency key.

    False: the user has as many as the quota allows. Uploads that arrive at the same instant don't see each other, so
    a burst may overshoot by its size. Raises RequestInProgress if the key is taken.
    """
    values = {name: getattr(asset, name) for name in Asset.__dataclass_fields__}
    has = _usage(user_id).subquery("has").c
    fits = sa.select(sa.literal(1)).where(has[0] < quota.assets, has[1] + asset.bytes <= quota.bytes).cte("fits")
    expires = sa.func.now() + sa.literal(timedelta(days=quota.unused_days), sa.Interval())
    insert = insert_per_row(assets, fits, **values, user_id=user_id, expires_at=expires)
    kept = insert.returning(assets.c.id).cte("kept")
    once = [keys.keep(kept)] if key else []
    statement = with_writes(sa.select(kept.c.id), *once)
    with keys.in_progress_when_taken():
        return (await db.run(statement, key.parameters() if key else None)).one_or_none() is not None
