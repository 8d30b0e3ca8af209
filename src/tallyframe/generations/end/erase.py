"""Delete a project: gone for its owner at once; its media and prompts right after, by the worker if need be.

The receipts and the ledger stay.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from tallyframe.assets.tables import assets, erased_files
from tallyframe.db import Database, Transaction, with_writes
from tallyframe.generations.steps.results import KEY
from tallyframe.generations.tables import ERASE_PROJECT, generations
from tallyframe.idempotency.keys import forget_answers
from tallyframe.outbox.rows import enqueue
from tallyframe.outbox.tables import outbox
from tallyframe.projects.tables import project_images, projects
from tallyframe.storages.base import EXTENSIONS, Storage


async def delete(db: Database, user_id: UUID, project_id: UUID) -> bool:
    """Take the project away from its owner, prompt and metadata included. False: it generates, or isn't theirs."""
    idle = projects.c.status.not_in(("pending", "processing")) & projects.c.deleted_at.is_(None)
    mine = (projects.c.id == project_id) & (projects.c.user_id == user_id) & idle
    gone = {"deleted_at": sa.func.now(), "is_published": False, "published_at": None, "prompt": "", "metadata": {}}
    update = sa.update(projects).where(mine).values(**gone).returning(projects.c.id)
    deleted = update.cte("deleted")
    row = await db.run(with_writes(sa.select(deleted.c.id), enqueue(ERASE_PROJECT, deleted)))
    return row.one_or_none() is not None


async def erase(db: Database, storages: Mapping[str, Storage], project_id: UUID) -> None:
    """Remove the deleted project's media, except pictures that other projects use. May be repeated. StorageError.

    Rows first, then bytes: so no order can be given a picture that is about to go, and a crash in between leaves a
    list of what is still to be removed.
    """
    async with db.transaction() as transaction:
        await _release_rows(transaction, project_id, list(storages))
    files = await db.run(sa.select(erased_files).where(erased_files.c.project_id == project_id))
    for row in files.all():
        await storages[row.storage].delete(row.key)
        await db.run(sa.delete(erased_files).where(erased_files.c.asset_id == row.asset_id))
    await db.run(sa.delete(outbox).where(outbox.c.kind == ERASE_PROJECT, outbox.c.ref == project_id))


async def _release_rows(transaction: Transaction, project_id: UUID, storages: Sequence[str]) -> None:
    """Take the deleted project's pictures out of the tables; one that is still used goes with the project that uses it.

    The lock on the assets makes orders that name one wait (their foreign key does), and the lock on the projects that
    use one makes their own deletion wait, so that nobody inherits a picture who is just leaving.
    """
    owner = sa.select(projects.c.user_id).where(projects.c.id == project_id, projects.c.deleted_at.is_not(None))
    user_id = (await transaction.execute(owner)).scalar_one_or_none()
    if user_id is None:  # it isn't deleted: whoever rang for this was wrong
        return
    mine = sa.select(assets.c.id).join(projects, projects.c.id == assets.c.project_id).with_for_update(of=assets)
    deleted = mine.where(projects.c.id == project_id, projects.c.deleted_at.is_not(None))
    ids = list((await transaction.execute(deleted)).scalars())
    heirs = {row.asset_id: row.project_id for row in (await transaction.execute(_users(ids, project_id))).all()}
    for asset_id, heir in heirs.items():
        await transaction.execute(sa.update(assets).where(assets.c.id == asset_id).values(project_id=heir))
    gone = [asset_id for asset_id in ids if asset_id not in heirs]
    unlink = (project_images.c.project_id == project_id) | project_images.c.asset_id.in_(gone)
    await transaction.execute(sa.delete(project_images).where(unlink))
    columns = (assets.c.id, sa.literal(project_id, sa.Uuid()), assets.c.storage, assets.c.key)
    listed = sa.select(*columns).where(assets.c.id.in_(gone))
    names = ["asset_id", "project_id", "storage", "key"]
    await transaction.execute(sa.insert(erased_files).from_select(names, listed))
    await transaction.execute(sa.delete(assets).where(assets.c.id.in_(gone)))
    await transaction.execute(_list_undelivered(project_id, storages))
    await transaction.execute(_forget_prompts(project_id))
    await transaction.execute(forget_answers(user_id, _made_by_orders(project_id)))


def _made_by_orders(project_id: UUID) -> sa.SelectBase:
    """Return the query for what the keys of a project's orders name: its generations, or itself in older versions."""
    ids = sa.select(generations.c.id).where(generations.c.project_id == project_id)
    return ids.union_all(sa.select(sa.literal(project_id, sa.Uuid())))


def _users(asset_ids: Sequence[UUID], project_id: UUID) -> sa.Select[UUID, UUID]:
    """Return the query for who else uses these pictures, and isn't deleted."""
    return (
        sa.select(project_images.c.asset_id, project_images.c.project_id)
        .join(projects, projects.c.id == project_images.c.project_id)
        .where(project_images.c.asset_id.in_(asset_ids), projects.c.id != project_id, projects.c.deleted_at.is_(None))
        .with_for_update(of=projects, read=True)
    )


def _forget_prompts(project_id: UUID) -> sa.Update:
    without = generations.c.input.op("||")(sa.literal({"prompt": ""}, JSONB))
    return sa.update(generations).where(generations.c.project_id == project_id).values(input=without)


#: What attempts that have not delivered may have stored all the same: their worker went away before it could say so, or
#: the generation was ended while they said so.
_UNDELIVERED = sa.text("""
    INSERT INTO erased_files (asset_id, project_id, storage, key)
    SELECT gen_random_uuid(), g.project_id, storage, format(CAST(:key AS text), g.id, s.name, s.attempt, ending)
    FROM generations g JOIN generation_steps s ON s.generation_id = g.id AND s.state <> 'failed'
              AND (s.state <> 'done' OR g.status <> 'succeeded'),
         unnest(CAST(:storages AS text[])) storage, unnest(CAST(:endings AS text[])) ending
    WHERE g.project_id = :project_id""")


def _list_undelivered(project_id: UUID, storages: Sequence[str]) -> sa.TextClause:
    project = sa.bindparam("project_id", project_id, sa.Uuid())
    return _UNDELIVERED.bindparams(project, key=KEY, storages=storages, endings=list(EXTENSIONS.values()))
