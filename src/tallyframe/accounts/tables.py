"""The rows of users and their API keys. The credit account's row belongs to the ledger."""

import sqlalchemy as sa

from tallyframe.columns import id_column, metadata, time_column

users = sa.Table(
    "users",
    metadata,
    id_column(primary_key=True),
    sa.Column("issuer", sa.Text, nullable=False),  # "local" for users added by the command line
    sa.Column("subject", sa.Text, nullable=False),  # the issuer's id; the e-mail address for local users
    sa.Column("email", sa.Text),
    sa.Column("display_name", sa.Text, nullable=False),
    sa.Column("role", sa.Text, nullable=False, server_default="user"),
    sa.Column("is_member", sa.Boolean, nullable=False, server_default=sa.false()),
    time_column("created_at", now=True),
    time_column("profile_updated_at", nullable=True),  # the issuer's time of the news that e-mail and name are from
    time_column("deleted_at", nullable=True),  # the row stays, so that late news don't bring the user back
    time_column("forgotten_at", nullable=True),  # when all that a deleted user had made was gone
    sa.UniqueConstraint("issuer", "subject"),
    sa.CheckConstraint("role IN ('user', 'admin')", name="role"),
    sa.CheckConstraint("deleted_at IS NULL OR email IS NULL", name="deleted_has_no_email"),
    sa.Index(
        "ix_users_to_forget",
        "deleted_at",
        postgresql_where=sa.text("deleted_at IS NOT NULL AND forgotten_at IS NULL"),
    ),
)

api_keys = sa.Table(
    "api_keys",
    metadata,
    id_column(primary_key=True),
    id_column("user_id", sa.ForeignKey("users.id"), nullable=False, index=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("secret_hash", sa.LargeBinary, nullable=False, unique=True),  # SHA-256
    sa.Column("last_four", sa.Text, nullable=False),
    time_column("created_at", now=True),
    time_column("revoked_at", nullable=True),
)
