"""Files from before 0011 get their role, and outputs their place among the media of their projects, while all work on.

Revision: 0015, after 0014.

What is done here takes time in proportion to the tables, so it is done outside of a transaction, and keeps nobody
waiting: rows in batches, indexes concurrently. The revisions before it are committed first. Cut off in the middle, the
database stays at 0014 and serves the version before; the next try goes on from there.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from uuid import UUID

import sqlalchemy as sa
from alembic import op

from tallyframe.migrating import outside_transaction

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

BATCH = 1_000
PAUSE = 0.5  # seconds from one walk to the next, while somebody else holds rows that are left
#: Rows that somebody else is changing are left for the next walk, so that nobody waits for us who holds what we want.
FILL_ASSETS = """
    WITH batch AS (SELECT id FROM assets WHERE id > :after ORDER BY id LIMIT :most),
         ours AS (SELECT id FROM assets JOIN batch USING (id)
                  WHERE coalesce(generation_id, project_id) IS NOT NULL AND role IS NULL
                  FOR UPDATE OF assets SKIP LOCKED),
         filled AS (UPDATE assets
                    SET role = CASE WHEN generation_id IS NULL THEN 'ordered' ELSE split_part(content_type, '/', 1) END,
                        position = CASE WHEN generation_id IS NULL THEN NULL ELSE 0 END
                    FROM ours WHERE assets.id = ours.id)
    SELECT id FROM batch ORDER BY id DESC LIMIT 1"""
ASSETS_LEFT = """
    SELECT EXISTS (SELECT FROM assets WHERE coalesce(generation_id, project_id) IS NOT NULL AND role IS NULL)"""
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
        "project_id IS NOT NULL AND status IN ('pending', 'processing')",
    ),
    "uq_generations_replaces_id": ("generations", ("replaces_id",), "replaces_id IS NOT NULL"),
}
IS_BROKEN = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid)"


def upgrade() -> None:
    """Fill the rows as a worker, whom row-level security shows everybody's, and make the indexes."""
    with outside_transaction() as connection:
        connection.execute(sa.text("SET ROLE tallyframe_worker"))
        _until_none_is_left(connection, ASSETS_LEFT, lambda: _walk_assets(connection))
        _until_none_is_left(connection, PROJECTS_LEFT, lambda: _walk_projects(connection))
        connection.execute(sa.text("RESET ROLE"))
        for name in INDEXES:
            _make_index(connection, name)
        op.execute("ALTER TABLE assets VALIDATE CONSTRAINT ck_assets_media_has_size")
        # It reads rows as the owner, whom the policy `bookkeeping` shows all generations.
        op.execute("ALTER TABLE generations VALIDATE CONSTRAINT fk_generations_replaces_id")


def downgrade() -> None:
    """Drop the indexes. The rows stay as they are."""
    for name, (table, _, _) in INDEXES.items():
        op.drop_index(name, table)


def _until_none_is_left(connection: sa.Connection, left: str, walk: Callable[[], None]) -> None:
    while connection.execute(sa.text(left)).scalar_one():
        walk()
        time.sleep(PAUSE)


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
