"""Delete a project, or a generation without one: gone for its owner at once, its files and words right after.

The API erases what it deletes by itself; where that fails, a worker does. The receipts and the ledger stay.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import JSONB

from tallyframe.assets.tables import ORDERED, assets, erased_files
from tallyframe.db import Database, Transaction, with_writes
from tallyframe.generations.end.sweep import UNDER_WAY, is_over
from tallyframe.generations.end.walk import BATCH
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
from tallyframe.ids import first_id, made_at
from tallyframe.outbox.rows import complete_taken, enqueue, not_queued, postpone_taken, take
from tallyframe.projects.tables import project_images, project_media, projects
from tallyframe.storages.base import EXTENSIONS, Storage, StorageError

log = structlog.get_logger()

#: Files that can't be removed, of one storage, after which the others are left for the next time.
MOST_FAILED = 3


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
        maker = (generations.c.id == assets.c.generation_id) & generations.c.project_id.is_(None)
        is_made = sa.exists().where(maker, generations.c.id != self.id, generations.c.deleted_at.is_(None))
        # It came with an order, or with a project or generation that is gone; what was uploaded by itself stays.
        came = sa.case((assets.c.generation_id.is_(None), assets.c.role == ORDERED), else_=~is_made.correlate(assets))
        named = sa.exists().where(this.c.id == self.id, names_asset(this)).correlate(assets)
        own = (assets.c.generation_id == self.id) | (came & named)
        return (assets.c.user_id == owner) & assets.c.project_id.is_(None) & own

    def owner(self) -> "sa.Select[UUID]":
        """Return the query for its user; no row unless it is deleted."""
        table = projects if self.kind == ERASE_PROJECT else generations
        return sa.select(table.c.user_id).where(table.c.id == self.id, table.c.deleted_at.is_not(None))


def names_asset(orders: "sa.FromClause") -> "sa.ColumnElement[bool]":
    """Return the condition that the input of a row of generations names the asset of an outer query."""
    return sa.func.strpos(sa.cast(orders.c.input, sa.Text), sa.cast(assets.c.id, sa.Text)) > 0


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
    Where a worker may still be storing one, the call comes again when that must be over. A storage that is away keeps
    no other from being tidied; files in one that is not set up any more stay listed, for `recall`.
    """
    async with db.transaction() as transaction:
        serial = (await transaction.execute(take(subject.kind, subject.id))).scalar_one_or_none()
        if serial is None:  # somebody else has removed it all; what we listed now, nobody would be called to remove
            return
        await _release_rows(transaction, subject, list(storages))
    files = (await db.run(sa.select(erased_files).where(erased_files.c.project_id == subject.id))).all()
    removing = [
        _remove(db, storage, {row.asset_id: row.key for row in files if row.storage == name})
        for name, storage in storages.items()
    ]
    failed = [error for error in await asyncio.gather(*removing, return_exceptions=True) if error]
    if failed:
        raise failed[0]
    if unknown := {row.storage for row in files} - set(storages):
        log.warning("erase_waits", subject=str(subject.id), storages=sorted(unknown))
    if (await db.run(_may_be_storing(subject))).scalar_one():
        await db.run(postpone_taken(subject.kind, subject.id, serial, timedelta(seconds=UNDER_WAY)))
    else:
        await db.run(complete_taken(subject.kind, subject.id, serial))


async def _remove(db: Database, storage: Storage, files: Mapping[UUID, str]) -> None:
    failed = list[StorageError]()
    for asset_id, key in files.items():
        try:
            await storage.delete(key)
        except StorageError as error:
            failed.append(error)
            if len(failed) == MOST_FAILED:  # it is not about the file
                break
        else:
            await db.run(sa.delete(erased_files).where(erased_files.c.asset_id == asset_id))
    if failed:
        raise failed[0]


def _may_be_storing(subject: Subject) -> "sa.Select[bool]":
    """Return the query whether a worker that has gone may be storing a file: it has begun to, and has not said more.

    Who has stored one late, and lives, calls again. But a worker may be ended in the middle, and its upload go on.
    """
    step = generation_steps.c
    said = sa.case((step.result.has_key("key"), 1), else_=0)
    begun = (step.generation_id == generations.c.id) & (sa.func.cardinality(step.fences) > said)
    recent = ~is_over(generations.c.finished_at)
    return sa.select(sa.exists().where(subject.generations(), recent, begun))


async def recall(db: Database, storages: Sequence[str]) -> int:
    """Call for files that are listed in these storages and that nobody is called for; return how many calls.

    Their storage was not set up when the rest was erased. Raises Unavailable.
    """
    listed = sa.select(erased_files.c.project_id.label("id")).where(erased_files.c.storage.in_(storages)).distinct()
    calls = 0
    for kind, table in ((ERASE_PROJECT, projects), (ERASE_GENERATION, generations)):
        its_own = sa.exists().where(table.c.id == erased_files.c.project_id)
        lost = listed.where(its_own, not_queued(kind, erased_files.c.project_id)).limit(BATCH).cte("lost")
        calls += (await db.run(enqueue(kind, lost))).rowcount
    return calls


async def _release_rows(transaction: Transaction, subject: Subject, storages: Sequence[str]) -> None:
    """Take the subject's files out of the tables; one that is still used goes with who uses it.

    The lock on the assets makes new orders that name one wait, until they see what is gone. The locks on the projects
    and generations that use one make their own deletion wait, so that nobody inherits a picture who is just leaving.
    """
    user_id = (await transaction.execute(subject.owner())).scalar_one_or_none()
    if user_id is None:  # it isn't deleted: whoever called for this was wrong
        return
    files = sa.select(assets.c.id).where(subject.files()).order_by(assets.c.id).with_for_update()
    ids = list((await transaction.execute(files)).scalars())
    heirs = await _heirs(transaction, ids, user_id, subject) if ids else {}
    for asset_id, heir in heirs.items():
        await transaction.execute(sa.update(assets).where(assets.c.id == asset_id).values(project_id=heir))
    gone = [asset_id for asset_id in ids if asset_id not in heirs]
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


async def _heirs(
    transaction: Transaction, ids: Sequence[UUID], user_id: UUID, subject: Subject
) -> dict[UUID, UUID | None]:
    """Return the project that gets each of the files which is still used; it and its other users are locked.

    None: only generations without a project name it. It goes when the last of them goes.
    """
    uses = (await transaction.execute(users_of(ids, user_id, subject))).all()
    there = dict[sa.Table, set[UUID]]()
    for table, names in ((projects, {row.project_id for row in uses}), (generations, {row.alone for row in uses})):
        query = sa.select(table.c.id).where(table.c.id.in_(names - {None}), table.c.deleted_at.is_(None))
        there[table] = set((await transaction.execute(query.with_for_update(read=True))).scalars())
    heirs: dict[UUID, UUID | None] = {row.asset_id: None for row in uses if row.alone in there[generations]}
    return heirs | {row.asset_id: row.project_id for row in uses if row.project_id in there[projects]}


#: An order is placed after the files that it names were made. By so many milliseconds the clocks of two API processes
#: may differ: a week, since a file would be gone for good.
_SKEW = 7 * 24 * 60 * 60 * 1000

#: An id as it stands in an order: a string of its own.
_ID = '"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})"'


def users_of(ids: Sequence[UUID], user_id: UUID, but: Subject | None = None) -> sa.Select[UUID, UUID, UUID]:
    """Return the query for who uses the files, but one subject: projects, and orders, which may be placed again.

    `alone` is the generation where it has no project. Each of the user's orders since the oldest of the files is read
    once, however many files.
    """
    row, picture = generations.c, project_images.c
    since = first_id(min(map(made_at, ids), default=0) - _SKEW)
    found = sa.func.regexp_matches(sa.cast(row.input, sa.Text), _ID, "g")
    names = found.table_valued(sa.column("ids", sa.ARRAY(sa.Text)), name="names").render_derived().lateral()
    alone = sa.case((row.project_id.is_(None), row.id)).label("alone")
    ordered = sa.select(sa.cast(names.c.ids[1], sa.Uuid()).label("asset_id"), row.project_id, alone)
    # A subquery, so that the planner doesn't know whose: it would read everybody's orders of that time for a busy user.
    mine = row.user_id == sa.select(sa.literal(user_id, sa.Uuid())).scalar_subquery()
    live = (mine, row.id >= since, row.deleted_at.is_(None))
    ordered = ordered.join_from(generations, names, sa.true()).where(*live)
    shown = sa.select(picture.asset_id, picture.project_id, sa.null().cast(sa.Uuid()))
    uses = sa.union(ordered, shown.where(picture.asset_id.in_(ids))).subquery()
    query = sa.select(uses.c.asset_id, uses.c.project_id, uses.c.alone).where(uses.c.asset_id.in_(ids))
    is_left_out = (uses.c.project_id == but.id) | (uses.c.alone == but.id) if but else sa.false()
    return query.where(is_left_out.is_not(True))


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
    WHERE NOT EXISTS (SELECT FROM assets a WHERE a.storage = file.storage AND a.key = file.key)
      AND NOT EXISTS (SELECT FROM erased_files e
                      WHERE e.project_id = :subject AND e.storage = file.storage AND e.key = file.key)""")
