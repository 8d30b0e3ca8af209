"""Any operation: results that are data, several outputs, generations without a project, slots, versions of media.

Revision: 0011, after 0010. Processes of the version before go on while it runs and after it: what they leave out is
filled in, and the two asset columns of `projects`, which only they read and write, are kept in step with
`project_media` by triggers until they are gone. Old and new workers go on with each other's steps of images and videos.

It neither changes nor reads rows that are there: that would take long, and everybody would wait. 0015 does.

It can be taken back as long as there are only images and videos of projects; metadata of generations and the link from
a generation to the one it replaces are lost. It is refused while there is a generation of any other operation, or one
without a project: the version before can't show these, and they can't be deleted, because the books name them.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"
#: Whose rows are read here, everybody's, also for an owner who is no superuser.
READ = ("assets", "generations", "projects")


def run_file(name: str) -> None:
    """Run the statements of a file, one by one: asyncpg takes one at a time."""
    for statement in (SQL / name).read_text().split("\n--;\n"):
        op.execute(statement)


def _force_row_level_security(no: str = "") -> None:
    """Let row-level security hold for the owner, too; or not."""
    for table in READ:
        op.execute(f"ALTER TABLE {table} {no} FORCE ROW LEVEL SECURITY")


def upgrade() -> None:
    """Make columns, the table of media, triggers and rights."""
    _force_row_level_security("NO")  # the foreign key and a function are checked by queries, which else are refused
    op.alter_column("generations", "project_id", nullable=True)
    op.add_column("generations", sa.Column("slot", sa.Text(), server_default="main", nullable=False))
    op.add_column("generations", sa.Column("output", postgresql.JSONB(none_as_null=True), nullable=True))
    op.add_column(
        "generations",
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    )
    op.add_column("generations", sa.Column("replaces_id", sa.Uuid(), nullable=True))
    op.add_column("generations", sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True))
    replaces = (op.f("fk_generations_replaces_id"), "generations", "generations", ["replaces_id"], ["id"])
    op.create_foreign_key(*replaces, postgresql_not_valid=True)
    op.add_column("generation_steps", sa.Column("poll_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column(
        "generation_steps",
        sa.Column("fences", postgresql.ARRAY(sa.Integer()), server_default=sa.text("'{}'::integer[]"), nullable=False),
    )
    op.add_column("ai_operations", sa.Column("step", sa.Text(), nullable=True))
    op.add_column("assets", sa.Column("role", sa.Text(), nullable=True))
    op.add_column("assets", sa.Column("position", sa.SmallInteger(), nullable=True))
    for size in ("width", "height"):
        op.alter_column("assets", size, nullable=True)
    op.create_check_constraint(
        op.f("ck_assets_media_has_size"),
        "assets",
        "width IS NOT NULL AND height IS NOT NULL OR content_type !~ '^(image|video)/'",
        postgresql_not_valid=True,
    )
    op.alter_column("projects", "aspect_ratio", nullable=True)
    op.drop_constraint("ck_projects_kind", "projects")
    op.drop_constraint("ck_projects_published_has_media", "projects")
    run_file("0011_any_operation.sql")
    _force_row_level_security()


def downgrade() -> None:
    """Take it back. Raises DBAPIError where there is what the version before knows nothing of; see above."""
    _force_row_level_security("NO")
    run_file("0011_undo.sql")
    op.drop_table("project_media")
    op.create_check_constraint(
        op.f("ck_projects_published_has_media"),
        "projects",
        "NOT is_published OR image_asset_id IS NOT NULL OR video_asset_id IS NOT NULL",
    )
    op.create_check_constraint(op.f("ck_projects_kind"), "projects", "kind IN ('image', 'video')")
    op.alter_column("projects", "aspect_ratio", nullable=False)
    op.drop_constraint("ck_assets_media_has_size", "assets")
    for size in ("width", "height"):
        op.alter_column("assets", size, nullable=False)
    op.drop_column("assets", "position")
    op.drop_column("assets", "role")
    op.drop_column("ai_operations", "step")
    op.drop_column("generation_steps", "fences")
    op.drop_column("generation_steps", "poll_at")
    for column in ("deleted_at", "replaces_id", "metadata", "output", "slot"):
        op.drop_column("generations", column)
    op.alter_column("generations", "project_id", nullable=False)
    _force_row_level_security()
