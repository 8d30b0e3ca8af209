"""② Accept an order: project, pictures, generation, debit and outbox row in ONE statement, all or nothing.

Everything hangs on the `project` row that the statement's first part inserts or updates: no such row, no debit.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.exc import DBAPIError
from sqlalchemy.sql.dml import ReturningInsert

from tallyframe.assets.tables import assets
from tallyframe.credits import Credits
from tallyframe.db import Database, sqlstate, together
from tallyframe.errors import NotFound
from tallyframe.generations.states import LIVE
from tallyframe.generations.tables import IS_LIVE, generations
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.outbox.put import put
from tallyframe.projects.tables import project_images, projects

#: The worker's function that the outbox row calls.
RUN_GENERATION = "run_generation"

#: The SQLSTATE for a foreign key that leads nowhere: a picture was deleted since it was looked up.
PICTURE_GONE = "23503"

#: Seconds before the relay rings: the submitter rings by itself at once, and that is usually enough.
RELAY_GRACE = 2.0


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
class Draft:
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


async def submit(db: Database, order: Order, draft: Draft) -> Accepted | None:
    """Make the project and its first generation. None: too many generations are active. Raises InsufficientCredits."""
    accepted = Accepted(new_id(), new_id())
    project = _new_project(accepted, order, draft).cte("project")
    return await _accept(db, accepted, order, project, _pictures(order, draft, project))


async def submit_again(db: Database, order: Order, project_id: UUID) -> Accepted | None:
    """Start a generation for a project that isn't generating.

    None: it is, or it's gone, or too many generations are active. Raises InsufficientCredits.
    """
    accepted = Accepted(project_id, new_id())
    idle = (
        (projects.c.id == project_id)
        & (projects.c.user_id == order.user_id)
        & projects.c.status.not_in(LIVE)
        & projects.c.deleted_at.is_(None)
    )
    values = {"generation_id": accepted.generation_id, "status": "pending", "updated_at": sa.func.clock_timestamp()}
    update = sa.update(projects).where(idle & _has_room(order))
    update = update.values(status_sequence=projects.c.status_sequence + 1, **values)
    return await _accept(db, accepted, order, update.returning(projects.c.id).cte("project"), [])


async def _accept(
    db: Database, accepted: Accepted, order: Order, project: sa.CTE, pictures: list[sa.Insert]
) -> Accepted | None:
    generation = _generation(accepted, order, project).cte("generation")
    grace = sa.func.clock_timestamp() + sa.literal(timedelta(seconds=RELAY_GRACE), sa.Interval())
    debit = [entries.debit(order.account_id, order.credits, generation)] if order.credits else []
    writes = [*pictures, *debit, put(RUN_GENERATION, generation, grace)]
    try:
        row = (await db.run(together(sa.select(generation.c.id), *writes))).one_or_none()
    except DBAPIError as error:
        if sqlstate(error) == PICTURE_GONE:
            raise NotFound("One of the pictures does not exist.") from error
        raise entries.insufficient_credits(error, order.credits) or error from error
    return accepted if row else None


def _has_room(order: Order) -> "sa.ColumnElement[bool]":
    # Not exact: orders that arrive at the same instant don't see each other, so a burst may overshoot by its size.
    mine = (generations.c.user_id == order.user_id) & IS_LIVE
    active = sa.select(sa.func.count()).select_from(generations).where(mine).scalar_subquery()
    return active < order.max_active


def _new_project(accepted: Accepted, order: Order, draft: Draft) -> ReturningInsert[UUID]:
    values = {
        "id": accepted.project_id,
        "user_id": order.user_id,
        "kind": draft.kind,
        "status": "pending",
        "prompt": draft.prompt,
        "prompt_id": draft.prompt_id,
        "aspect_ratio": draft.aspect_ratio,
        "metadata": draft.metadata,
        "generation_id": accepted.generation_id,
    }
    return _insert_where(projects, values, _has_room(order)).returning(projects.c.id)


def _generation(accepted: Accepted, order: Order, project: sa.CTE) -> ReturningInsert[UUID]:
    values = {
        "id": accepted.generation_id,
        "user_id": order.user_id,
        "account_id": order.account_id,
        "operation": order.operation,
        "input": order.input,
        "credits": order.credits,
    }
    max_age = sa.literal(timedelta(seconds=order.max_age), sa.Interval())
    row = _literals(generations, values).add_columns(project.c.id, sa.func.clock_timestamp() + max_age)
    insert = sa.insert(generations).from_select([*values, "project_id", "expires_at"], row)
    return insert.returning(generations.c.id)


def _pictures(order: Order, draft: Draft, project: sa.CTE) -> list[sa.Insert]:
    new = [_new_asset(order, asset, project) for asset in draft.new_assets]
    links = [
        sa.insert(project_images).from_select(
            ["position", "asset_id", "project_id"],
            _literals(project_images, {"position": position, "asset_id": asset_id}).add_columns(project.c.id),
        )
        for position, asset_id in enumerate(draft.images)
    ]
    return new + links


def _new_asset(order: Order, asset: dict[str, Any], project: sa.CTE) -> sa.Insert:
    values = {**asset, "user_id": order.user_id}
    row = _literals(assets, values).add_columns(project.c.id)
    return sa.insert(assets).from_select([*values, "project_id"], row)


def _insert_where(table: sa.Table, values: dict[str, Any], condition: "sa.ColumnElement[bool]") -> sa.Insert:
    return sa.insert(table).from_select([*values], _literals(table, values).where(condition))


def _literals(table: sa.Table, values: dict[str, Any]) -> "sa.Select[*tuple[Any, ...]]":
    columns = [sa.literal(value, _bare(table.c[name].type)).label(name) for name, value in values.items()]
    return sa.select(*columns)


def _bare(kind: "sa.types.TypeEngine[Any]") -> "sa.types.TypeEngine[Any]":
    return JSONB(none_as_null=True) if isinstance(kind, JSONB) else kind
