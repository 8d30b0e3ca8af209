"""Rows of assets, which only their owner finds."""

from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa

from tallyframe.assets.tables import assets
from tallyframe.db import Database, with_writes
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
    query = sa.select(*COLUMNS).where(assets.c.user_id == user_id, assets.c.id.in_(asset_ids))
    return {row.id: Asset(*row) for row in (await db.run(query)).all()}


async def keep(db: Database, user_id: UUID, asset: Asset, key: Key | None) -> None:
    """Insert a picture for later orders, which belongs to no project yet, and the request's idempotency key.

    Raises RequestInProgress if the key is taken.
    """
    values = {name: getattr(asset, name) for name in Asset.__dataclass_fields__}
    kept = sa.insert(assets).values(**values, user_id=user_id).returning(assets.c.id).cte("kept")
    once = [keys.keep(kept)] if key else []
    with keys.in_progress_when_taken():
        await db.run(with_writes(sa.select(kept.c.id), *once), key.parameters() if key else None)
