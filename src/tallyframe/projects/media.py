"""What a project shows: of each role and position, the newest version."""

import sqlalchemy as sa

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


def is_current() -> "sa.ColumnElement[bool]":
    """Return the condition that a row of `project_media` is the newest version of its role and position."""
    this, later = project_media.c, project_media.alias("later").c
    same = (later.project_id == this.project_id) & (later.role == this.role) & (later.position == this.position)
    return ~sa.exists().where(same, later.version > this.version).correlate(project_media)
