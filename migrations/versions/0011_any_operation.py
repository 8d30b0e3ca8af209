"""Any operation: results that are data, several outputs, generations without a project, slots, versions of media.

Revision: 0011, after 0010. Processes of the version before go on while it runs and after it: what they leave out is
filled in, and the two asset columns of `projects`, which only they read and write, are kept in step with
`project_media` by triggers until they are gone.
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
LIVE = "status IN ('pending', 'processing')"


def run_file(name: str) -> None:
    """Run the statements of a file, one by one: asyncpg takes one at a time."""
    for statement in (SQL / name).read_text().split("\n--;\n"):
        op.execute(statement)


def upgrade() -> None:
    """Make columns and the table of media, fill them, and then the triggers and rights."""
    op.alter_column("generations", "project_id", nullable=True)
    op.add_column("generations", sa.Column("slot", sa.Text(), server_default="main", nullable=False))
    op.add_column("generations", sa.Column("output", postgresql.JSONB(none_as_null=True), nullable=True))
    op.add_column(
        "generations",
        sa.Column("metadata", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    )
    op.add_column("generations", sa.Column("replaces_id", sa.Uuid(), nullable=True))
    op.add_column("generations", sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.create_foreign_key(op.f("fk_generations_replaces_id"), "generations", "generations", ["replaces_id"], ["id"])
    op.create_unique_constraint(op.f("uq_generations_replaces_id"), "generations", ["replaces_id"])
    op.create_index(
        "uq_generations_one_live_per_slot",
        "generations",
        ["project_id", "slot"],
        unique=True,
        postgresql_where=sa.text(LIVE),
    )
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
    )
    op.alter_column("projects", "aspect_ratio", nullable=True)
    op.drop_constraint("ck_projects_kind", "projects")
    op.drop_constraint("ck_projects_published_has_media", "projects")
    _make_project_media()
    run_file("0011_any_operation.sql")
    op.create_index(
        "uq_assets_output",
        "assets",
        ["generation_id", "role", "position"],
        unique=True,
        postgresql_where=sa.text("generation_id IS NOT NULL"),
    )


def _make_project_media() -> None:
    op.create_table(
        "project_media",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_media_project_id")),
        sa.ForeignKeyConstraint(
            ["asset_id"], ["assets.id"], name=op.f("fk_project_media_asset_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name=op.f("fk_project_media_generation_id")),
        sa.PrimaryKeyConstraint("project_id", "role", "position", "version", name=op.f("pk_project_media")),
        sa.UniqueConstraint("asset_id", name=op.f("uq_project_media_asset_id")),
    )


def downgrade() -> None:
    """Take it back. What the version before knows nothing of can't stay: it has to be gone first."""
    for statement in (SQL / "0011_undo.sql").read_text().split("\n--;\n"):
        op.execute(statement)
    op.drop_table("project_media")
    op.drop_index("uq_assets_output", "assets")
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
    op.drop_index("uq_generations_one_live_per_slot", "generations")
    for column in ("deleted_at", "replaces_id", "metadata", "output", "slot"):
        op.drop_column("generations", column)
    op.alter_column("generations", "project_id", nullable=False)
