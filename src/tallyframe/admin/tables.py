"""The row of an administrator's act. A trigger refuses to change or remove it."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.columns import id_column, metadata, time_column

admin_log = sa.Table(
    "admin_log",
    metadata,
    id_column(primary_key=True),
    id_column("admin_id", sa.ForeignKey("users.id"), nullable=False),  # who
    sa.Column("action", sa.Text, nullable=False),  # what
    id_column("user_id", sa.ForeignKey("users.id"), index=True),  # to whom; null: to no user
    id_column("generation_id", sa.ForeignKey("generations.id"), index=True),  # to which of theirs
    sa.Column("reason", sa.Text, nullable=False),  # why
    sa.Column("details", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    time_column("created_at", now=True),
    sa.CheckConstraint("reason <> ''", name="reason"),
)
