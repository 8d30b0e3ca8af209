"""Uploads can be deleted, and go when nothing has used them; deleted users are forgotten.

Revision ID: 0017
Revises: 0016

A picture that was uploaded by itself was kept for ever. Those that are there get 30 days from now; what still uses one
then makes it stay. Users who were deleted before this revision keep what they left: that was the promise then.
"""

import sqlalchemy as sa
from alembic import op

from tallyframe.migrating import begin_locking

revision = "0017"
down_revision = "0016"
branch_labels = None
depends_on = None

#: What users may now change of their own, and workers of a user who is to be forgotten.
NEW = (
    ("deleted_at", "assets", "tallyframe_api"),
    ("forgotten_at", "users", "tallyframe_worker"),
    ("deleted_at, is_published, published_at, prompt, metadata", "projects", "tallyframe_worker"),
    ("deleted_at", "generations", "tallyframe_worker"),
)


def upgrade() -> None:
    """Add the columns, which rewrites nothing."""
    begin_locking("assets", "users")
    later = sa.text("(now() + '30 days'::interval)")
    op.add_column("assets", sa.Column("expires_at", sa.TIMESTAMP(timezone=True), server_default=later, nullable=True))
    op.add_column("assets", sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("users", sa.Column("forgotten_at", sa.TIMESTAMP(timezone=True), nullable=True))
    for columns, table, role in NEW:
        op.execute(f"GRANT UPDATE ({columns}) ON {table} TO {role}")
    # As a worker, whom the policies show everybody; an owner that is no superuser would change nobody.
    op.execute("SET LOCAL ROLE tallyframe_worker")
    op.execute("SET LOCAL row_security = on")
    op.execute("UPDATE users SET forgotten_at = deleted_at WHERE deleted_at IS NOT NULL")
    op.execute("SET LOCAL row_security = off")
    op.execute("RESET ROLE")


def downgrade() -> None:
    """Take the columns away. An upload that was deleted and is not erased yet is there again."""
    for columns, table, role in NEW:
        op.execute(f"REVOKE UPDATE ({columns}) ON {table} FROM {role}")
    op.drop_column("users", "forgotten_at")
    op.drop_column("assets", "deleted_at")
    op.drop_column("assets", "expires_at")
