"""Indexes for uploads, for users to forget, and for files by their storage, made while everybody works on.

Revision ID: 0018
Revises: 0017
"""

import sqlalchemy as sa
from alembic import op

from tallyframe.migrating import outside_transaction

revision = "0018"
down_revision = "0017"
branch_labels = None
depends_on = None

UPLOAD = "role IS NULL AND project_id IS NULL AND generation_id IS NULL"
INDEXES = {
    "ix_assets_uploads": ("assets (user_id, id)", f"{UPLOAD} AND deleted_at IS NULL"),
    "ix_assets_expiring": ("assets (expires_at)", f"{UPLOAD} AND deleted_at IS NULL"),
    "ix_assets_deleted": ("assets (id)", "deleted_at IS NOT NULL"),
    "ix_users_to_forget": ("users (deleted_at)", "deleted_at IS NOT NULL AND forgotten_at IS NULL"),
    "ix_erased_files_storage": ("erased_files (storage)", "true"),
}
IS_BROKEN = "SELECT EXISTS (SELECT FROM pg_index WHERE indexrelid = to_regclass(:name) AND NOT indisvalid)"


def upgrade() -> None:
    """Make them; one that was left by a try that was cut off is made anew."""
    with outside_transaction() as connection:
        for name, (columns, where) in INDEXES.items():
            if connection.execute(sa.text(IS_BROKEN), {"name": name}).scalar_one():
                op.execute(f"DROP INDEX CONCURRENTLY {name}")
            condition = "" if where == "true" else f" WHERE {where}"
            op.execute(f"CREATE INDEX CONCURRENTLY IF NOT EXISTS {name} ON {columns}{condition}")


def downgrade() -> None:
    """Drop them."""
    for name in INDEXES:
        op.execute(f"DROP INDEX {name}")
