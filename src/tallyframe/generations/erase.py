"""Delete a project: gone for its owner at once; its media and prompts right after, by the worker if need be.

The receipts and the ledger stay.
"""

from collections.abc import Mapping
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from tallyframe.assets.tables import assets
from tallyframe.db import Database, together
from tallyframe.generations.tables import generations
from tallyframe.outbox.put import put
from tallyframe.outbox.tables import outbox
from tallyframe.projects.tables import project_images, projects
from tallyframe.storages.base import Storage

#: The worker's function that the outbox row calls.
ERASE_PROJECT = "erase_project"


async def delete(db: Database, user_id: UUID, project_id: UUID) -> bool:
    """Take the project away from its owner, prompt and metadata included. False: it generates, or isn't theirs."""
    idle = projects.c.status.not_in(("pending", "processing")) & projects.c.deleted_at.is_(None)
    mine = (projects.c.id == project_id) & (projects.c.user_id == user_id) & idle
    gone = {"deleted_at": sa.func.now(), "is_published": False, "published_at": None, "prompt": "", "metadata": {}}
    update = sa.update(projects).where(mine).values(**gone).returning(projects.c.id)
    deleted = update.cte("deleted")
    row = await db.run(together(sa.select(deleted.c.id), put(ERASE_PROJECT, deleted)))
    return row.one_or_none() is not None


async def erase(db: Database, storages: Mapping[str, Storage], project_id: UUID) -> None:
    """Remove the deleted project's media, except pictures that other projects use. May be repeated. StorageError."""
    rows = (await db.run(_erasable(project_id))).all()
    for row in rows:
        await storages[row.storage].delete(row.key)
    ids = [row.id for row in rows]
    async with db.transaction() as transaction:
        await transaction.execute(sa.delete(project_images).where(project_images.c.project_id == project_id))
        await transaction.execute(sa.delete(assets).where(assets.c.id.in_(ids)))
        await transaction.execute(_hand_over(project_id))
        await transaction.execute(_forget_prompts(project_id))
        await transaction.execute(sa.delete(outbox).where(outbox.c.kind == ERASE_PROJECT, outbox.c.ref == project_id))


def _hand_over(project_id: UUID) -> sa.Update:
    """Return the update that lets a picture still in use go with the next project that uses it."""
    used = project_images.c.asset_id == assets.c.id
    heir = sa.select(sa.func.max(sa.cast(project_images.c.project_id, sa.Text))).where(used).scalar_subquery()
    return sa.update(assets).where(assets.c.project_id == project_id).values(project_id=sa.cast(heir, sa.Uuid))


def _forget_prompts(project_id: UUID) -> sa.Update:
    without = generations.c.input.op("||")(sa.literal({"prompt": ""}, JSONB))
    return sa.update(generations).where(generations.c.project_id == project_id).values(input=without)


def _erasable(project_id: UUID) -> sa.Select[UUID, str, str]:
    elsewhere = sa.exists().where(project_images.c.asset_id == assets.c.id, project_images.c.project_id != project_id)
    deleted = sa.exists().where(projects.c.id == project_id, projects.c.deleted_at.is_not(None))
    return sa.select(assets.c.id, assets.c.storage, assets.c.key).where(
        assets.c.project_id == project_id, deleted, ~elsewhere
    )
