"""Indexes that lead to the first rows of what workers, sweepers and lists look for, however many there are.

Revision: 0020, after 0019.

Until now, all that was live had one index, by turn. A claim walked over what waited for vendors, the oldest was found by
sorting, and sweepers read all. And a user's newest rows could also be found by walking everybody's,
or the files of one generation by reading those of all the user's.

The indexes are made while all work on. Cut off in the middle, the database stays at 0019, which works as before; the
next try goes on from there. The version before finds what it looks for by other indexes, more slowly.
"""

from collections.abc import Mapping

import sqlalchemy as sa
from alembic import op

from tallyframe.migrating import outside_transaction

revision = "0020"
down_revision = "0019"
branch_labels = None
depends_on = None

INDEXES: Mapping[str, str] = {
    "ix_generations_turn": "generations (turn, id) WHERE status = 'pending'",
    "ix_generations_due": "generations (coalesce(lease_until, wake_at)) WHERE status = 'processing'",
    "ix_generations_pending_until": "generations (expires_at, id) WHERE status = 'pending'",
    "ix_generations_processing_until": "generations (expires_at, id) WHERE status = 'processing'",
    "ix_generations_live_of_user": "generations (user_id, status, turn) WHERE status IN ('pending', 'processing')",
    "ix_generations_newest": "generations (user_id, id DESC NULLS LAST) INCLUDE (deleted_at)",
    "ix_assets_alone": "assets (user_id) WHERE project_id IS NULL",
    "ix_projects_newest": "projects (user_id, id DESC NULLS LAST) WHERE deleted_at IS NULL",
}
BEFORE: Mapping[str, str] = {
    "ix_generations_live": "generations (turn, id) WHERE status IN ('pending', 'processing')",
    "ix_generations_live_by_user": "generations (user_id, turn) WHERE status IN ('pending', 'processing')",
    "ix_generations_user_id": "generations (user_id, id)",
    "ix_assets_user_id": "assets (user_id)",
    "ix_projects_user_id_id": "projects (user_id, id) WHERE deleted_at IS NULL",
}
IS_BROKEN = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid)"


def upgrade() -> None:
    """Make the new indexes, then drop the one that they replace."""
    _replace(BEFORE, by=INDEXES)


def downgrade() -> None:
    """Do the opposite."""
    _replace(INDEXES, by=BEFORE)


def _replace(old: Mapping[str, str], *, by: Mapping[str, str]) -> None:
    with outside_transaction() as connection:
        for name, of in by.items():
            if connection.execute(sa.text(IS_BROKEN), {"name": name}).scalar_one():  # a try was cut off
                op.execute(f"DROP INDEX CONCURRENTLY {name}")
            op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {of}")
        for name in old:
            op.execute(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
