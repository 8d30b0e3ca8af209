"""Delete a project, or a generation without one: gone for its owner at once, its files and words right after.

The API erases what it deletes by itself; where that fails, a worker does. The receipts and the ledger stay.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB

from tallyframe.assets.tables import ORDERED, assets, erased_files
from tallyframe.db import Database, Transaction, with_writes
from tallyframe.generations.steps.results import KEY
from tallyframe.generations.tables import (
    ERASE_GENERATION,
    ERASE_PROJECT,
    ERASED_INPUT,
    IS_LIVE,
    generation_steps,
    generations,
)
from tallyframe.idempotency.keys import forget_answers
from tallyframe.outbox.rows import complete_taken, enqueue, take
from tallyframe.projects.tables import project_images, project_media, projects
from tallyframe.storages.base import EXTENSIONS, Storage


@dataclass(frozen=True, slots=True)
class Subject:
    """What is erased: a project with all its generations, or one generation that has no project."""

    id: UUID
    kind: str  # ERASE_PROJECT or ERASE_GENERATION

    def generations(self) -> "sa.ColumnElement[bool]":
        """Return the condition for its generations."""
        return (generations.c.project_id if self.kind == ERASE_PROJECT else generations.c.id) == self.id

    def files(self) -> "sa.ColumnElement[bool]":
        """Return the condition for the assets that go with it."""
        if self.kind == ERASE_PROJECT:
            return assets.c.project_id == self.id
        this = generations.alias("this")
        owner = sa.select(this.c.user_id).where(this.c.id == self.id).scalar_subquery()
        ordered = (assets.c.user_id == owner) & _is_ordered() & _named_by(this, this.c.id == self.id)
        return ((assets.c.generation_id == self.id) & assets.c.project_id.is_(None)) | ordered

    def owner(self) -> "sa.Select[UUID]":
        """Return the query for its user; no row unless it is deleted."""
        table = projects if self.kind == ERASE_PROJECT else generations
        return sa.select(table.c.user_id).where(table.c.id == self.id, table.c.deleted_at.is_not(None))


def _is_ordered() -> "sa.ColumnElement[bool]":
    """Return the condition that an asset came with orders that have no project."""
    return (assets.c.role == ORDERED) & assets.c.project_id.is_(None) & assets.c.generation_id.is_(None)


def _named_by(some: "sa.FromClause", condition: "sa.ColumnElement[bool]") -> "sa.ColumnElement[bool]":
    """Return the condition that an asset's id stands in the input of one of `some` generations."""
    names = sa.func.strpos(sa.cast(some.c.input, sa.Text), sa.cast(assets.c.id, sa.Text)) > 0
    return sa.exists().where(condition, names).correlate(assets)


async def delete(db: Database, user_id: UUID, project_id: UUID) -> bool:
    """Take the project away from its owner, prompt and metadata included. False: it generates, or isn't theirs.

    It is locked by a statement of its own: the next one sees the generation of an order that held the lock before. An
    order that comes later waits, and finds the project deleted.
    """
    mine = (projects.c.id == project_id) & (projects.c.user_id == user_id) & projects.c.deleted_at.is_(None)
    live = sa.exists().where(generations.c.project_id == projects.c.id, IS_LIVE)
    gone = {"deleted_at": sa.func.now(), "is_published": False, "published_at": None, "prompt": "", "metadata": {}}
    deleted = sa.update(projects).where(mine, ~live).values(**gone).returning(projects.c.id).cte("deleted")
    async with db.transaction() as transaction:
        await transaction.execute(sa.select(projects.c.id).where(mine).with_for_update())
        row = await transaction.execute(with_writes(sa.select(deleted.c.id), enqueue(ERASE_PROJECT, deleted)))
        return row.one_or_none() is not None


async def delete_generation(db: Database, user_id: UUID, generation_id: UUID) -> bool:
    """Take a generation that has no project away from its owner. False: it hasn't ended, has one, or isn't theirs."""
    row = generations.c
    mine = (row.id == generation_id) & (row.user_id == user_id) & row.project_id.is_(None)
    ended = row.finished_at.is_not(None) & row.deleted_at.is_(None)
    update = sa.update(generations).where(mine, ended).values(deleted_at=sa.func.now(), metadata={})
    deleted = update.returning(row.id).cte("deleted")
    statement = with_writes(sa.select(deleted.c.id), enqueue(ERASE_GENERATION, deleted))
    return (await db.run(statement)).one_or_none() is not None


async def erase(db: Database, storages: Mapping[str, Storage], subject: Subject) -> None:
    """Remove what belongs to a deleted subject, except pictures that projects use. May be repeated. StorageError.

    Rows first, then bytes: so no order can be given a picture that is about to go, and a crash in between leaves a
    list of what is still to be removed. Several may erase at once, API and worker: the call stays until who has begun
    last has removed all that there is, and longer if a worker has meanwhile stored a file late, and has called again.
    """
    async with db.transaction() as transaction:
        serial = (await transaction.execute(take(subject.kind, subject.id))).scalar_one_or_none()
        await _release_rows(transaction, subject, list(storages))
    files = await db.run(sa.select(erased_files).where(erased_files.c.project_id == subject.id))
    for row in files.all():
        await storages[row.storage].delete(row.key)
        await db.run(sa.delete(erased_files).where(erased_files.c.asset_id == row.asset_id))
    await db.run(complete_taken(subject.kind, subject.id, serial))


async def _release_rows(transaction: Transaction, subject: Subject, storages: Sequence[str]) -> None:
    """Take the subject's files out of the tables; one that is still used goes with the project that uses it.

    The lock on the assets makes orders that name one wait (their foreign key does), and the lock on the projects that
    use one makes their own deletion wait, so that nobody inherits a picture who is just leaving.
    """
    user_id = (await transaction.execute(subject.owner())).scalar_one_or_none()
    if user_id is None:  # it isn't deleted: whoever called for this was wrong
        return
    ids = list((await transaction.execute(sa.select(assets.c.id).where(subject.files()).with_for_update())).scalars())
    heirs = {row.asset_id: row.project_id for row in (await transaction.execute(_users(ids, subject.id))).all()}
    for asset_id, heir in heirs.items():
        await transaction.execute(sa.update(assets).where(assets.c.id == asset_id).values(project_id=heir))
    kept = set((await transaction.execute(_still_named(ids, subject.id))).scalars())
    gone = [asset_id for asset_id in ids if asset_id not in heirs and asset_id not in kept]
    unlink = (project_images.c.project_id == subject.id) | project_images.c.asset_id.in_(gone)
    await transaction.execute(sa.delete(project_images).where(unlink))
    await transaction.execute(sa.delete(project_media).where(project_media.c.project_id == subject.id))
    columns = (assets.c.id, sa.literal(subject.id, sa.Uuid()), assets.c.storage, assets.c.key)
    listed = sa.select(*columns).where(assets.c.id.in_(gone))
    names = ["asset_id", "project_id", "storage", "key"]
    await transaction.execute(sa.insert(erased_files).from_select(names, listed))
    await transaction.execute(sa.delete(assets).where(assets.c.id.in_(gone)))
    whose = sa.bindparam("subject", subject.id, sa.Uuid())
    others = _OTHERS.bindparams(whose, key=KEY, storages=list(storages), endings=list(EXTENSIONS.values()))
    await transaction.execute(others)
    await _forget_words(transaction, user_id, subject)


def _users(asset_ids: Sequence[UUID], subject_id: UUID) -> sa.Select[UUID, UUID]:
    """Return the query for the projects that use these pictures, and aren't deleted or the subject."""
    others = (projects.c.id != subject_id) & projects.c.deleted_at.is_(None)
    return (
        sa.select(project_images.c.asset_id, project_images.c.project_id)
        .join(projects, projects.c.id == project_images.c.project_id)
        .where(project_images.c.asset_id.in_(asset_ids), others)
        .with_for_update(of=projects, read=True)
    )


def _still_named(asset_ids: Sequence[UUID], subject_id: UUID) -> sa.Select[UUID]:
    """Return the query for those that other generations of their user need, as one that was ordered again does."""
    others = generations.alias("others")
    theirs = (others.c.user_id == assets.c.user_id) & (others.c.id != subject_id) & others.c.deleted_at.is_(None)
    return sa.select(assets.c.id).where(assets.c.id.in_(asset_ids), _is_ordered(), _named_by(others, theirs))


async def _forget_words(transaction: Transaction, user_id: UUID, subject: Subject) -> None:
    """Forget what was ordered, what data came of it, and what the user was answered."""
    nothing = {"input": ERASED_INPUT, "output": None, "metadata": {}}
    await transaction.execute(sa.update(generations).where(subject.generations()).values(**nothing))
    mine = sa.select(generations.c.id).where(subject.generations())
    data = generation_steps.c.generation_id.in_(mine) & generation_steps.c.result.has_key("data")
    await transaction.execute(sa.update(generation_steps).where(data).values(result=sa.literal({}, JSONB)))
    # A key names the generation of its order; in older versions, the project itself.
    refs = mine.union_all(sa.select(sa.literal(subject.id, sa.Uuid())))
    await transaction.execute(forget_answers(user_id, refs))


#: What steps may have stored and no asset has: their worker went away before it could say so, the generation was ended
#: while they said so, or the result was only a step on the way. Workers of the version before, which may have begun the
#: step, name files by the try, and don't note that they store one: so even a try that has failed may have left a file.
#: A step whose result is data has none.
_OTHERS = sa.text("""
    INSERT INTO erased_files (asset_id, project_id, storage, key)
    SELECT gen_random_uuid(), :subject, file.storage, file.key
    FROM (
        SELECT DISTINCT storage, format(CAST(:key AS text), g.id, s.name, number, ending) AS key
        FROM generations g JOIN generation_steps s ON s.generation_id = g.id,
             unnest(s.fences || s.attempt) number,
             unnest(CAST(:storages AS text[])) storage, unnest(CAST(:endings AS text[])) ending
        WHERE (g.project_id = :subject OR g.id = :subject) AND (s.result IS NULL OR s.result ? 'key')
    ) AS file
    WHERE NOT EXISTS (SELECT FROM assets a WHERE a.storage = file.storage AND a.key = file.key)""")
