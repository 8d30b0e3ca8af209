"""Outputs from before 0011 get their role and their place among the media of their projects, while everybody works on.

Revision: 0015, after 0014.

What is done here takes time in proportion to the tables, so it is done outside of a transaction, and keeps nobody
waiting: rows in batches, indexes concurrently. The revisions before it are committed first. Cut off in the middle, the
database stays at 0014 and serves the version before; the next try goes on from there.
"""

from collections.abc import Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

BATCH = 1_000
#: Rows that somebody else is changing are left for the next walk, so that nobody waits for us who holds what we want.
FILL_ASSETS = """
    WITH batch AS (SELECT id FROM assets WHERE id > :after ORDER BY id LIMIT :most),
         ours AS (SELECT id FROM assets JOIN batch USING (id) WHERE generation_id IS NOT NULL AND role IS NULL
                  FOR UPDATE OF assets SKIP LOCKED),
         filled AS (UPDATE assets SET role = split_part(content_type, '/', 1), position = 0
                    FROM ours WHERE assets.id = ours.id)
    SELECT id FROM batch ORDER BY id DESC LIMIT 1"""
ASSETS_LEFT = "SELECT EXISTS (SELECT FROM assets WHERE generation_id IS NOT NULL AND role IS NULL)"
#: Two statements: what is filled in must be seen as it is once the projects are locked.
LOCK_PROJECTS = """
    WITH batch AS (SELECT id FROM projects WHERE id > :after ORDER BY id LIMIT :most),
         ours AS (SELECT id FROM projects JOIN batch USING (id) WHERE deleted_at IS NULL
                  FOR UPDATE OF projects SKIP LOCKED)
    SELECT (SELECT id FROM batch ORDER BY id DESC LIMIT 1), array(SELECT id FROM ours)"""
FILL_PROJECTS = "SELECT fill_project_media(:ids)"
PROJECTS_LEFT = """
    SELECT EXISTS (SELECT FROM projects p JOIN assets a ON a.project_id = p.id
                                          JOIN generations g ON g.id = a.generation_id AND g.project_id = p.id
                   WHERE p.deleted_at IS NULL AND NOT EXISTS (SELECT FROM project_media m WHERE m.asset_id = a.id))"""

INDEXES: Mapping[str, tuple[str, Sequence[str], str]] = {
    "uq_assets_output": ("assets", ("generation_id", "role", "position"), "generation_id IS NOT NULL"),
    "uq_generations_one_live_per_slot": (
        "generations",
        ("project_id", "slot"),
        "status IN ('pending', 'processing')",
    ),
}
IS_BROKEN = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid)"


def upgrade() -> None:
    """Fill the rows as a worker, whom row-level security shows everybody's, and make the indexes."""
    with op.get_context().autocommit_block():
        connection = op.get_bind()
        connection.execute(sa.text("SET ROLE tallyframe_worker"))
        while connection.execute(sa.text(ASSETS_LEFT)).scalar_one():
            _walk_assets(connection)
        while connection.execute(sa.text(PROJECTS_LEFT)).scalar_one():
            _walk_projects(connection)
        connection.execute(sa.text("RESET ROLE"))
        for name in INDEXES:
            _make_index(connection, name)
        op.execute("ALTER TABLE assets VALIDATE CONSTRAINT ck_assets_media_has_size")


def downgrade() -> None:
    """Drop the indexes. The rows stay as they are."""
    for name, (table, _, _) in INDEXES.items():
        op.drop_index(name, table)


def _walk_assets(connection: sa.Connection) -> None:
    after: UUID | None = UUID(int=0)
    while after:
        after = connection.execute(sa.text(FILL_ASSETS), {"after": after, "most": BATCH}).scalar_one_or_none()


def _walk_projects(connection: sa.Connection) -> None:
    after: UUID | None = UUID(int=0)
    fill = sa.text(FILL_PROJECTS).bindparams(sa.bindparam("ids", type_=sa.ARRAY(sa.Uuid())))
    while after:
        connection.execute(sa.text("BEGIN"))
        after, ids = connection.execute(sa.text(LOCK_PROJECTS), {"after": after, "most": BATCH}).one()
        connection.execute(fill, {"ids": ids})
        connection.execute(sa.text("COMMIT"))


def _make_index(connection: sa.Connection, name: str) -> None:
    table, columns, where = INDEXES[name]
    if connection.execute(sa.text(IS_BROKEN), {"name": name}).scalar_one():  # left by a try that was cut off
        op.execute(f"DROP INDEX CONCURRENTLY {name}")
    unique = f"CREATE UNIQUE INDEX CONCURRENTLY IF NOT EXISTS {name}"
    op.execute(f"{unique} ON {table} ({', '.join(columns)}) WHERE {where}")
