"""What a project shows: of each role and position, the newest version."""

from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.selectable import LateralFromClause

from tallyframe.db import insert_per_row
from tallyframe.projects.tables import project_media


def show(settled: sa.CTE, made: sa.CTE) -> sa.Insert:
    """Return the insert of what was made as the newest versions, if the settled generation has a project.

    `settled` has id and project_id, `made` has id, role and position of each output.
    """
    of = project_media.alias("earlier").c
    same = (of.project_id == settled.c.project_id) & (of.role == made.c.role) & (of.position == made.c.position)
    latest = sa.select(sa.func.coalesce(sa.func.max(of.version), 0)).where(same).scalar_subquery()
    return insert_per_row(
        project_media,
        settled.join(made, settled.c.project_id.is_not(None)),
        project_id=settled.c.project_id,
        role=made.c.role,
        position=made.c.position,
        version=latest + 1,
        asset_id=made.c.id,
        generation_id=settled.c.id,
    )


def current(project_id: "sa.ColumnElement[UUID]") -> LateralFromClause:
    """Return the lateral subquery for what a project in an outer query shows: role, position, version, asset_id."""
    of = project_media.c
    newest = sa.select(of.role, of.position, of.version, of.asset_id).ext(postgresql.distinct_on(of.role, of.position))
    ordered = newest.where(of.project_id == project_id).order_by(of.role, of.position, of.version.desc())
    return ordered.lateral("shown")
