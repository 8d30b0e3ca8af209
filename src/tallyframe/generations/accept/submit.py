"""② Accept an order: project, pictures, generation, debit and outbox row in ONE statement, all or nothing.

Everything hangs on the `project` row that the statement's first part inserts or updates: no such row, no debit.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.exc import DBAPIError

from tallyframe.assets.tables import assets
from tallyframe.credits import Credits
from tallyframe.db import Database, with_writes
from tallyframe.errors import NotFound
from tallyframe.generations.tables import IS_LIVE, generations
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import Key
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.lost import sqlstate
from tallyframe.outbox.rows import enqueue
from tallyframe.projects.tables import project_images, projects

#: The worker's function that the outbox row calls.
RUN_GENERATION = "run_generation"

#: The SQLSTATE for a foreign key that leads nowhere: a picture was deleted since it was looked up.
PICTURE_GONE = "23503"

#: Seconds before the relay rings: the submitter rings by itself at once, and that is usually enough.
RELAY_GRACE = 2.0

#: Further writes that stand or fall with a move: made from the row that it hangs on, which has an `id`.
ExtraWrites = Callable[[sa.FromClause], Sequence[sa.Insert | sa.Update]]


def no_writes(_: sa.FromClause) -> Sequence[sa.Insert]:
    """Return no further writes."""
    return ()


@dataclass(frozen=True, slots=True)
class Order:
    """What is bought, by whom, for how many credits. `max_active` and `max_age` (seconds) are the limits in force."""

    user_id: UUID
    account_id: UUID
    operation: str
    input: dict[str, Any]
    credits: Credits
    max_active: int
    max_age: float


@dataclass(frozen=True, slots=True)
class NewProject:
    """A project to make with the order. `new_assets` are rows of pictures stored just for it."""

    kind: str
    prompt: str
    prompt_id: UUID | None
    aspect_ratio: str
    metadata: dict[str, str]
    images: Sequence[UUID]
    new_assets: Sequence[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Accepted:
    """What the order became."""

    project_id: UUID
    generation_id: UUID


async def submit(db: Database, order: Order, draft: NewProject, key: Key | None = None) -> Accepted | None:
    """Make the project and its first generation, and keep the key of the request that did.

    None: too many generations are active. Raises InsufficientCredits, and RequestInProgress where the key is taken.
    """
    accepted = Accepted(new_id(), new_id())
    wanted = {name: getattr(draft, name) for name in _DRAFTED}
    built = _statement(_NEW_PROJECT, _pictures(order, draft), keyed=key is not None) if draft.images else None
    return await _accept(db, _SUBMIT if built is None else {key is not None: built}, accepted, order, wanted, key)


async def submit_again(db: Database, order: Order, project_id: UUID, key: Key | None = None) -> Accepted | None:
    """Start a generation for a project that isn't generating, and keep the key of the request that did.

    None: it is, or it's gone, or too many generations are active. Raises InsufficientCredits, and RequestInProgress
    where the key is taken.
    """
    return await _accept(db, _SUBMIT_AGAIN, Accepted(project_id, new_id()), order, {}, key)


async def submit_instead(
    db: Database,
    order: Order,
    accepted: Accepted,
    ended_id: UUID,
    also: Callable[[sa.FromClause], Sequence[sa.Insert]],
) -> Accepted | None:
    """Start a generation in place of one that has ended, which must still be its project's latest.

    So one failure is made good, and paid, once, however many ask for it. `also` hangs on the project's row. None: as
    `submit_again`, or the place has been taken, or the user has been deleted. Raises InsufficientCredits, and
    RequestInProgress where a key that `also` keeps is taken.
    """
    project = _unanswered_project()
    statements = {False: _statement(project, also(project))}
    return await _accept(db, statements, accepted, order, {"ended_id": ended_id}, None)


async def _accept(  # by position, two callers
    db: Database,
    statements: Mapping[bool, sa.Executable],
    accepted: Accepted,
    order: Order,
    wanted: dict[str, Any],
    key: Key | None,
) -> Accepted | None:
    parameters = {
        "project_id": accepted.project_id,
        "generation_id": accepted.generation_id,
        "entry_id": new_id(),
        **{name: getattr(order, name) for name in _ORDERED},
        "max_active": order.max_active,
        "max_age": timedelta(seconds=order.max_age),
        **wanted,
        **(key.parameters() if key else {}),
    }
    try:
        with keys.in_progress_when_taken():
            row = (await db.run(statements[key is not None], parameters)).one_or_none()
    except DBAPIError as error:
        if sqlstate(error) == PICTURE_GONE:
            raise NotFound("One of the pictures does not exist.") from error
        raise entries.insufficient_credits(error, order.credits) or error from error
    return accepted if row else None


# The statement's parts. They are put together once, with parameters, because building SQL costs more than running it.

_ORDERED = ("user_id", "account_id", "operation", "input", "credits")
_DRAFTED = ("kind", "prompt", "prompt_id", "aspect_ratio", "metadata")


def _parameters(table: sa.Table, names: Sequence[str]) -> "list[sa.ColumnElement[Any]]":
    return [sa.bindparam(name, type_=table.c[name].type) for name in names]


def _turn() -> "sa.ColumnElement[int]":
    """Return when it is this generation's turn: after the user's own, and not before what is being served now.

    Start-time fair queueing (Goyal, Vin, Cheng 1996), where each generation counts the same: who orders a thousand
    stands in line with each of them, and who orders one comes next.
    """
    mine = (generations.c.user_id == sa.bindparam("user_id", type_=sa.Uuid())) & IS_LIVE
    own_last = sa.select(sa.func.max(generations.c.turn)).where(mine).scalar_subquery()
    served_now = sa.func.turn_served_now(type_=sa.BigInteger())
    return sa.func.greatest(served_now, own_last + 1)


def _has_room() -> "sa.ColumnElement[bool]":
    # Not exact: orders that arrive at the same instant don't see each other, so a burst may overshoot by its size.
    mine = (generations.c.user_id == sa.bindparam("user_id", type_=sa.Uuid())) & IS_LIVE
    active = sa.select(sa.func.count()).select_from(generations).where(mine).scalar_subquery()
    return active < sa.bindparam("max_active", type_=sa.BigInteger())


def _new_project() -> sa.CTE:
    ids = [sa.bindparam("project_id", type_=sa.Uuid()), sa.bindparam("generation_id", type_=sa.Uuid())]
    row = sa.select(*ids, sa.literal("pending", sa.Text()), *_parameters(projects, ("user_id", *_DRAFTED)))
    columns = ["id", "generation_id", "status", "user_id", *_DRAFTED]
    insert = sa.insert(projects).from_select(columns, row.where(_has_room()))
    return insert.returning(projects.c.id).cte("project")


#: As text, because SQLAlchemy mistakes an inner UPDATE's columns for parameters when there are some of the same name.
_IDLE_PROJECT = """
    UPDATE projects SET generation_id = :generation_id, status = 'pending', status_sequence = status_sequence + 1,
                        updated_at = clock_timestamp()
    WHERE id = :project_id AND user_id = :user_id AND deleted_at IS NULL AND status NOT IN ('pending', 'processing')
      AND (SELECT count(*) FROM generations WHERE user_id = :user_id AND status IN ('pending', 'processing'))
          < :max_active
    RETURNING id"""


def _idle_project() -> sa.CTE:
    ids = [sa.bindparam(name, type_=sa.Uuid()) for name in ("generation_id", "project_id", "user_id")]
    update = sa.text(_IDLE_PROJECT).bindparams(*ids, sa.bindparam("max_active", type_=sa.BigInteger()))
    return update.columns(id=sa.Uuid()).cte("project")


#: The same for a project whose latest generation is still `ended_id`.
_UNANSWERED_PROJECT = _IDLE_PROJECT.replace(
    "WHERE id = :project_id",
    """WHERE id = :project_id AND generation_id = :ended_id
      AND EXISTS (SELECT FROM users WHERE id = :user_id AND deleted_at IS NULL)""",
)


def _unanswered_project() -> sa.CTE:
    names = ("generation_id", "project_id", "user_id", "ended_id")
    ids = [sa.bindparam(name, type_=sa.Uuid()) for name in names]
    update = sa.text(_UNANSWERED_PROJECT).bindparams(*ids, sa.bindparam("max_active", type_=sa.BigInteger()))
    return update.columns(id=sa.Uuid()).cte("project")


def _statement(project: sa.CTE, pictures: "Sequence[sa.Insert]" = (), *, keyed: bool = False) -> sa.Executable:
    row = sa.select(
        sa.bindparam("generation_id", type_=sa.Uuid()),
        project.c.id,
        _turn(),
        sa.func.clock_timestamp() + sa.bindparam("max_age", type_=sa.Interval()),
        *_parameters(generations, _ORDERED),
    )
    insert = sa.insert(generations).from_select(["id", "project_id", "turn", "expires_at", *_ORDERED], row)
    returned = insert.returning(generations.c.id, generations.c.account_id, generations.c.credits)
    generation = returned.cte("generation")
    grace = sa.func.clock_timestamp() + sa.literal(timedelta(seconds=RELAY_GRACE), sa.Interval())
    ring = enqueue(RUN_GENERATION, generation, grace)
    once = [keys.keep(generation)] if keyed else []
    return with_writes(sa.select(generation.c.id), *once, *pictures, entries.debit(generation), ring)


_NEW_PROJECT, _SAME_PROJECT = _new_project(), _idle_project()
#: Without and with a key.
_SUBMIT = {keyed: _statement(_NEW_PROJECT, keyed=keyed) for keyed in (False, True)}
_SUBMIT_AGAIN = {keyed: _statement(_SAME_PROJECT, keyed=keyed) for keyed in (False, True)}


def _pictures(order: Order, draft: NewProject) -> list[sa.Insert]:
    new = [_insert(assets, {**asset, "user_id": order.user_id}) for asset in draft.new_assets]
    positions = enumerate(draft.images)
    return new + [_insert(project_images, {"position": place, "asset_id": asset}) for place, asset in positions]


def _insert(table: sa.Table, values: dict[str, Any]) -> sa.Insert:
    """Return the insert of one row that belongs to the new project, if there is one."""
    literals = [sa.literal(value, table.c[name].type) for name, value in values.items()]
    return sa.insert(table).from_select([*values, "project_id"], sa.select(*literals, _NEW_PROJECT.c.id))
