"""Users who sign in elsewhere: what their issuer tells of them, and that it has told it.

Revision: 0002, after 0001.
"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the columns and the table, and what API and workers may do with it."""
    op.add_column("users", sa.Column("profile_updated_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.add_column("users", sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True))
    op.create_check_constraint(op.f("ck_users_deleted_has_no_email"), "users", "deleted_at IS NULL OR email IS NULL")
    op.create_table(
        "webhook_events",
        sa.Column("source", sa.Text(), nullable=False),
        sa.Column("event_id", sa.Text(), nullable=False),
        sa.Column("type", sa.Text(), nullable=False),
        sa.Column(
            "received_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("source", "event_id", name=op.f("pk_webhook_events")),
    )
    op.execute("GRANT SELECT, INSERT, DELETE ON webhook_events TO tallyframe_app")


def downgrade() -> None:
    """Take them away. Rows of the deleted who never had an account go; 0001 knows users with accounts only."""
    op.drop_table("webhook_events")
    op.execute(
        "DELETE FROM users u WHERE u.deleted_at IS NOT NULL AND NOT EXISTS (SELECT FROM accounts WHERE user_id = u.id)"
    )
    op.drop_constraint(op.f("ck_users_deleted_has_no_email"), "users", type_="check")
    op.drop_column("users", "deleted_at")
    op.drop_column("users", "profile_updated_at")
