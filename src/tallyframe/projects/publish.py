"""Show a project in Explore, or take it back."""

from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Database
from tallyframe.projects.tables import has_media, projects


async def publish(db: Database, user_id: UUID, project_id: UUID) -> bool:
    """Publish the user's project; publishing again changes nothing. False: it has no media, or isn't theirs."""
    values = {"is_published": True, "published_at": sa.func.coalesce(projects.c.published_at, sa.func.now())}
    return await _change(db, user_id, project_id, has_media(), sa.not_(projects.c.is_published), values)


async def unpublish(db: Database, user_id: UUID, project_id: UUID) -> bool:
    """Take the user's project back; doing so again changes nothing. False: it isn't theirs."""
    values = {"is_published": False, "published_at": None}
    return await _change(db, user_id, project_id, sa.true(), projects.c.is_published, values)


async def _change(
    db: Database,
    user_id: UUID,
    project_id: UUID,
    condition: "sa.ColumnElement[bool]",
    changes: "sa.ColumnElement[bool]",
    values: dict[str, Any],
) -> bool:
    mine = (projects.c.id == project_id) & (projects.c.user_id == user_id) & projects.c.deleted_at.is_(None)
    step = sa.case((changes, 1), else_=0)
    update = sa.update(projects).where(mine, condition)
    update = update.values(**values, status_sequence=projects.c.status_sequence + step, updated_at=sa.func.now())
    return (await db.run(update.returning(projects.c.id))).one_or_none() is not None
