"""Reads for the API: projects with a generation, mostly their latest, and receipts, in one query each.

Everything but `explore` asks for the owner, so that other people's things are simply not there.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects.postgresql import JSONB, aggregate_order_by

from tallyframe.accounts.tables import users
from tallyframe.assets.tables import assets
from tallyframe.db import Database, Statement
from tallyframe.generations.states import LIVE
from tallyframe.generations.tables import IS_LIVE, generations
from tallyframe.ledger.history import charges
from tallyframe.projects import media
from tallyframe.projects.tables import project_images, project_media, projects

#: A row by the names of its columns.
Row = Mapping[Any, Any]

_ASSET = ("id", "storage", "key", "content_type", "bytes", "sha256", "width", "height", "duration_seconds")
_OUTPUT = ("role", "position", *_ASSET)
_GENERATION = (
    "id",
    "project_id",
    "operation",
    "output",
    "metadata",
    "status",
    "step",
    "attempt",
    "provider",
    "model",
    "credits",
    "error_code",
    "error_message",
    "created_at",
    "started_at",
    "finished_at",
)
#: The project's own columns, in every row of a project.
PROJECT = (
    "id",
    "kind",
    "status",
    "status_sequence",
    "is_published",
    "prompt",
    "prompt_id",
    "aspect_ratio",
    "metadata",
    "created_at",
    "updated_at",
)


def _json(
    columns: Sequence["sa.ColumnElement[Any]"], *conditions: "sa.ColumnElement[bool]", by: "tuple[Any, ...]"
) -> "sa.ScalarSelect[Any]":
    """Return what meets the conditions as a JSON list of objects with these columns, in the order of `by`."""
    pairs = [item for column in columns for item in (str(column.name), column)]
    ordered = aggregate_order_by(sa.func.jsonb_build_object(*pairs), *by)
    return sa.select(sa.func.jsonb_agg(ordered, type_=JSONB)).where(*conditions).scalar_subquery()


_charges = charges(generations.c.id)
_outputs = _json(
    [assets.c[name] for name in _OUTPUT],
    assets.c.generation_id == generations.c.id,
    by=(assets.c.role, assets.c.position),
).label("outputs")
_images = _json(
    [assets.c[name] for name in _ASSET],
    project_images.c.project_id == projects.c.id,
    project_images.c.asset_id == assets.c.id,
    by=(project_images.c.position,),
).label("images")
_media = _json(
    [*(project_media.c[name] for name in ("role", "position", "version")), *(assets.c[name] for name in _ASSET)],
    project_media.c.project_id == projects.c.id,
    project_media.c.asset_id == assets.c.id,
    media.is_current(),
    by=(project_media.c.role, project_media.c.position),
).label("media")

#: What has ended is at the last step, however far it came: `status` says how it ended.
_step = sa.case((IS_LIVE, generations.c.step), else_="completed")

_generation_columns = [
    *((_step if name == "step" else generations.c[name]).label(f"generation_{name}") for name in _GENERATION),
    _charges.c.charged.label("generation_charged"),
    _charges.c.refunded.label("generation_refunded"),
    _outputs.label("generation_outputs"),
]

_receipts = sa.select(*_generation_columns).select_from(generations.join(_charges, sa.true()))

_project_columns = [
    *(projects.c[name] for name in PROJECT),
    _images,
    _media,
    *_generation_columns,
]


def _projects_with(which: "sa.ColumnElement[bool]") -> sa.Select[Any]:
    """Return the query for projects with those of their generations that meet the condition."""
    return sa.select(*_project_columns).select_from(projects.join(generations, which).join(_charges, sa.true()))


_projects = _projects_with(generations.c.id == projects.c.generation_id)


def _of(user_id: UUID) -> "sa.ColumnElement[bool]":
    return (projects.c.user_id == user_id) & projects.c.deleted_at.is_(None)


# What polls run is put together once: building it per request costs more than running it.
_ME = sa.bindparam("user_id", type_=sa.Uuid())
_MINE = (projects.c.user_id == _ME) & projects.c.deleted_at.is_(None)
_MY_GENERATION = (generations.c.user_id == _ME) & generations.c.deleted_at.is_(None)
_THIS_PROJECT = (projects.c.id == sa.bindparam("project_id", type_=sa.Uuid())) & _MINE
_PROJECT = _projects.where(_THIS_PROJECT)
_ORDERED = _projects_with(generations.c.project_id == projects.c.id).where(
    generations.c.id == sa.bindparam("generation_id", type_=sa.Uuid()), _MINE
)
_VERSION = (
    sa.select(
        projects.c.status_sequence,
        sa.case((projects.c.status.in_(LIVE), generations.c.created_at)).label("generating_since"),
    )
    .join(generations, generations.c.id == projects.c.generation_id)
    .where(_THIS_PROJECT)
)


@dataclass(frozen=True, slots=True)
class Version:
    """The number that tells one state of a project from the next, and since when it generates, if it does."""

    status_sequence: int
    generating_since: datetime | None


PROJECT_BY_ID: Statement[Row] = Statement("project", _PROJECT, dict)
PROJECT_ORDERED: Statement[Row] = Statement("project_ordered", _ORDERED, dict)
PROJECT_VERSION = Statement("project_version", _VERSION, Version)


async def project(db: Database, user_id: UUID, project_id: UUID) -> Row | None:
    """Return the user's project with its latest generation."""
    return await db.find(PROJECT_BY_ID, user_id=user_id, project_id=project_id)


async def ordered(db: Database, user_id: UUID, generation_id: UUID) -> Row | None:
    """Return the user's project that this generation is of, with it, whether it is the latest or not."""
    return await db.find(PROJECT_ORDERED, user_id=user_id, generation_id=generation_id)


async def project_version(db: Database, user_id: UUID, project_id: UUID) -> Version | None:
    """Return only what most polls need."""
    return await db.find(PROJECT_VERSION, user_id=user_id, project_id=project_id)


async def listed(
    db: Database, user_id: UUID, *, status: str | None, kind: str | None, before: UUID | None, limit: int
) -> list[Row]:
    """Return up to `limit` of the user's projects, newest first, older than `before`."""
    query = _projects.where(_of(user_id))
    if status == "published":
        query = query.where(projects.c.is_published)
    elif status:
        query = query.where(projects.c.status == status, ~projects.c.is_published)
    if kind:
        query = query.where(projects.c.kind == kind)
    if before:
        query = query.where(projects.c.id < before)
    return list((await db.run(query.order_by(projects.c.id.desc()).limit(limit))).mappings())


async def receipt(db: Database, user_id: UUID, generation_id: UUID) -> Row | None:
    """Return the user's generation."""
    mine = _MY_GENERATION & (generations.c.id == sa.bindparam("generation_id", type_=sa.Uuid()))
    found = await db.run(_receipts.where(mine), {"user_id": user_id, "generation_id": generation_id})
    return found.mappings().one_or_none()


async def generations_of(
    db: Database, user_id: UUID, *, operation: str | None, status: str | None, before: UUID | None, limit: int
) -> list[Row]:
    """Return up to `limit` of the user's generations, newest first, older than `before`."""
    query = _receipts.where(_MY_GENERATION)
    if operation:
        query = query.where(generations.c.operation == operation)
    if status:
        query = query.where(generations.c.status == status)
    if before:
        query = query.where(generations.c.id < before)
    query = query.order_by(generations.c.id.desc()).limit(limit)
    return list((await db.run(query, {"user_id": user_id})).mappings())


def everybodys_receipts(*columns: "sa.ColumnElement[Any]") -> sa.Select[Any]:
    """Return the query for everybody's receipts, with further columns of generations and users."""
    return _receipts.add_columns(*columns).join(users, users.c.id == generations.c.user_id)


async def receipts(db: Database, user_id: UUID, project_id: UUID) -> list[Row]:
    """Return all generations of the user's project, newest first; at most 200."""
    mine = (generations.c.user_id == user_id) & (generations.c.project_id == project_id)
    return list((await db.run(_receipts.where(mine).order_by(generations.c.id.desc()).limit(200))).mappings())


_first_image = (
    sa.select(project_media.c.asset_id)
    .where(project_media.c.project_id == projects.c.id, project_media.c.role == "image", project_media.c.position == 0)
    .where(media.is_current())
    .scalar_subquery()
)


async def order_of(db: Database, user_id: UUID, project_id: UUID) -> Row | None:
    """Return what is needed to order for this project again: its latest order, and its pictures."""
    query = (
        sa.select(
            generations.c.operation,
            generations.c.input,
            projects.c.prompt,
            projects.c.aspect_ratio,
            _first_image.label("image_asset_id"),
        )
        .join(generations, generations.c.id == projects.c.generation_id)
        .where(_of(user_id), projects.c.id == project_id)
    )
    return (await db.run(query)).mappings().one_or_none()


async def active(db: Database, user_id: UUID) -> int:
    """Return how many of the user's generations have not ended."""
    query = sa.select(sa.func.count()).select_from(generations).where(generations.c.user_id == user_id, IS_LIVE)
    return int((await db.run(query)).scalar_one())


async def reserved(db: Database, account_id: UUID) -> int:
    """Return the credits that the account's live generations were debited."""
    live = (generations.c.account_id == account_id) & IS_LIVE
    total = sa.func.coalesce(sa.func.sum(_charges.c.charged - _charges.c.refunded), 0)
    query = sa.select(total).select_from(generations.join(_charges, sa.true())).where(live)
    return int((await db.run(query)).scalar_one())


async def explore(db: Database, *, before: tuple[datetime, UUID] | None, limit: int) -> list[Row]:
    """Return up to `limit` published projects of everybody, latest published first."""
    columns = [projects.c[name] for name in ("id", "kind", "prompt", "aspect_ratio", "published_at")]
    query = (
        sa.select(*columns, users.c.display_name, _media)
        .join(users, users.c.id == projects.c.user_id)
        .where(projects.c.is_published, users.c.deleted_at.is_(None))
        .order_by(projects.c.published_at.desc(), projects.c.id.desc())
        .limit(limit)
    )
    if before:
        query = query.where(sa.tuple_(projects.c.published_at, projects.c.id) < sa.tuple_(*before))
    return list((await db.run(query)).mappings())
