"""The rows of projects and of the pictures that they start from."""

from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.columns import id_column, metadata, time_column

projects = sa.Table(
    "projects",
    metadata,
    id_column(primary_key=True),
    id_column("user_id", sa.ForeignKey("users.id"), nullable=False),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),  # `published` is is_published, laid over it
    sa.Column("status_sequence", sa.Integer, nullable=False, server_default="1"),  # +1 at each visible change
    sa.Column("is_published", sa.Boolean, nullable=False, server_default=sa.false()),
    sa.Column("prompt", sa.Text, nullable=False),
    id_column("prompt_id"),
    sa.Column("aspect_ratio", sa.Text),
    sa.Column("metadata", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    id_column("generation_id", nullable=False),  # the latest one of the slot `main`
    # Read and written by the version before only; triggers keep them in step with project_media.
    id_column("image_asset_id"),
    id_column("video_asset_id"),
    time_column("created_at", now=True),
    time_column("updated_at", now=True),
    time_column("published_at", nullable=True),
    time_column("deleted_at", nullable=True),
    sa.CheckConstraint("status IN ('pending', 'processing', 'draft', 'failed', 'canceled')", name="status"),
    sa.CheckConstraint("is_published = (published_at IS NOT NULL)", name="published"),
    sa.Index(
        "ix_projects_newest", "user_id", sa.text("id DESC NULLS LAST"), postgresql_where=sa.text("deleted_at IS NULL")
    ),
    sa.Index("ix_projects_published", "published_at", "id", postgresql_where=sa.text("is_published")),
)

project_images = sa.Table(
    "project_images",
    metadata,
    id_column("project_id", sa.ForeignKey("projects.id"), primary_key=True),
    sa.Column("position", sa.SmallInteger, primary_key=True),
    id_column("asset_id", sa.ForeignKey("assets.id"), nullable=False, index=True),
)


#: What a project shows: of each role and position, the newest version.
project_media = sa.Table(
    "project_media",
    metadata,
    id_column("project_id", sa.ForeignKey("projects.id"), primary_key=True),
    sa.Column("role", sa.Text, primary_key=True),  # what it is used as, such as "image"
    sa.Column("position", sa.SmallInteger, primary_key=True),  # from 0, among those of its role
    sa.Column("version", sa.Integer, primary_key=True),  # from 1
    id_column("asset_id", sa.ForeignKey("assets.id", ondelete="CASCADE"), nullable=False, unique=True),
    id_column("generation_id", sa.ForeignKey("generations.id"), nullable=False),
)


def has_media() -> "sa.ColumnElement[bool]":
    """Return the condition that a project, in an outer query, has media."""
    return sa.exists().where(project_media.c.project_id == projects.c.id).correlate(projects)


def changed() -> "dict[str, sa.ColumnElement[Any]]":
    """Return what every update sets that pollers are to see."""
    return {"status_sequence": projects.c.status_sequence + 1, "updated_at": sa.func.clock_timestamp()}
