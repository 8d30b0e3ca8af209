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

from tallyframe import pages
from tallyframe.accounts.tables import users
from tallyframe.assets.tables import assets
from tallyframe.db import Database, ForMany, Statement
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
    source: sa.FromClause,
    columns: Sequence["sa.ColumnElement[Any]"],
    *conditions: "sa.ColumnElement[bool]",
    by: "tuple[Any, ...]",
) -> "sa.ScalarSelect[Any]":
    """Return what meets the conditions as a JSON list of objects with these columns, in the order of `by`."""
    pairs = [item for column in columns for item in (str(column.name), column)]
    ordered = aggregate_order_by(sa.func.jsonb_build_object(*pairs), *by)
    query = sa.select(sa.func.jsonb_agg(ordered, type_=JSONB)).select_from(source).where(*conditions)
    return query.correlate(projects, generations).scalar_subquery()


_charges = charges(generations.c.id)
_outputs = _json(
    assets,
    [assets.c[name] for name in _OUTPUT],
    assets.c.generation_id == generations.c.id,
    by=(assets.c.role, assets.c.position),
).label("outputs")
_images = _json(
    project_images.join(assets, project_images.c.asset_id == assets.c.id),
    [assets.c[name] for name in _ASSET],
    project_images.c.project_id == projects.c.id,
    by=(project_images.c.position,),
).label("images")
_media = _json(
    project_media.join(assets, project_media.c.asset_id == assets.c.id),
    [*(project_media.c[name] for name in ("role", "position", "version")), *(assets.c[name] for name in _ASSET)],
    project_media.c.project_id == projects.c.id,
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
PROJECTS_BY_ID, PROJECT_VERSIONS = ForMany(PROJECT_BY_ID), ForMany(PROJECT_VERSION)


async def project(db: Database, user_id: UUID, project_id: UUID) -> Row | None:
    """Return the user's project with its latest generation."""
    return await db.find_with_others(PROJECTS_BY_ID, user_id=user_id, project_id=project_id)


async def ordered(db: Database, user_id: UUID, generation_id: UUID) -> Row | None:
    """Return the user's project that this generation is of, with it, whether it is the latest or not."""
    return await db.find(PROJECT_ORDERED, user_id=user_id, generation_id=generation_id)


async def project_version(db: Database, user_id: UUID, project_id: UUID) -> Version | None:
    """Return only what most polls need."""
    return await db.find_with_others(PROJECT_VERSIONS, user_id=user_id, project_id=project_id)


async def listed(
    db: Database, user_id: UUID, window: pages.Window, *, status: str | None = None, kind: str | None = None
) -> pages.Page:
    """Return that part of the user's projects with this status (or `published`) and of this kind, newest first."""
    row, wanted = projects.c, list[sa.ColumnElement[bool]]()
    if status == "published":
        wanted.append(row.is_published)
    elif status:
        wanted += [row.status == status, ~row.is_published]
    if kind:
        wanted.append(row.kind == kind)
    return await pages.page(db, pages.Listing(projects, _projects, _of(user_id)), window, *wanted)


async def receipt(db: Database, user_id: UUID, generation_id: UUID) -> Row | None:
    """Return the user's generation."""
    mine = _MY_GENERATION & (generations.c.id == sa.bindparam("generation_id", type_=sa.Uuid()))
    found = await db.run(_receipts.where(mine), {"user_id": user_id, "generation_id": generation_id})
    return found.mappings().one_or_none()


async def generations_of(
    db: Database, user_id: UUID, window: pages.Window, *, operation: str | None = None, status: str | None = None
) -> pages.Page:
    """Return that part of the user's generations of this operation and with this status, newest first."""
    row, given = generations.c, {"operation": operation, "status": status}
    wanted = [row[name] == value for name, value in given.items() if value]
    mine = (row.user_id == user_id) & row.deleted_at.is_(None)
    return await pages.page(db, pages.Listing(generations, _receipts, mine), window, *wanted)


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


async def reserved(db: Database, user_id: UUID) -> int:
    """Return the credits that the user's live generations were debited: their prices, as the auditor checks."""
    total = sa.func.coalesce(sa.func.sum(generations.c.credits), 0)
    query = sa.select(total).where(generations.c.user_id == user_id, IS_LIVE)
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
