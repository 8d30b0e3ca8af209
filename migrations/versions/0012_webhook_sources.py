"""Webhooks are stored before they are applied, and a role of their own applies them in workers.

Revision: 0012, after 0011.

The version before goes on working: it inserts the source, id and type of what it applies, in the same transaction.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql" / "0012_webhook_sources.sql"

COLUMNS: tuple["sa.Column[object]", ...] = (
    sa.Column("id", sa.Uuid(), server_default=sa.text("gen_random_uuid()"), nullable=False),
    sa.Column("status", sa.Text(), server_default="applied", nullable=False),
    sa.Column("subject", sa.Text(), nullable=True),
    sa.Column("headers", postgresql.JSONB(), server_default=sa.text("'{}'::jsonb"), nullable=False),
    sa.Column("body", sa.LargeBinary(), nullable=True),
    sa.Column("attempts", sa.Integer(), server_default="0", nullable=False),
    sa.Column("error", sa.Text(), nullable=True),
    sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
)
#: A line about nobody's account is told as one about the administrator, who is the only person in it.
WAS = """
    ALTER TABLE admin_log DISABLE TRIGGER admin_log_append_only, NO FORCE ROW LEVEL SECURITY;
    UPDATE admin_log SET user_id = admin_id WHERE user_id IS NULL;
    ALTER TABLE admin_log ENABLE ALWAYS TRIGGER admin_log_append_only, FORCE ROW LEVEL SECURITY;
    ALTER TABLE admin_log ALTER user_id SET NOT NULL;
    DELETE FROM outbox WHERE kind = 'apply_webhook';
    DELETE FROM webhook_events WHERE status = 'received';
    DROP POLICY may_sign_up ON ledger_entries;
    DROP POLICY of_webhooks ON users;
    DROP POLICY of_webhooks ON accounts;
    DROP POLICY of_webhooks ON api_keys;
    DROP POLICY of_webhooks ON projects;
    REVOKE ALL ON ALL TABLES IN SCHEMA public FROM tallyframe_webhooks;
    REVOKE ALL ON SCHEMA public FROM tallyframe_webhooks"""


def upgrade() -> None:
    """Add the columns, the indexes, the role and its rights."""
    for column in COLUMNS:
        op.add_column("webhook_events", column)
    op.create_unique_constraint(op.f("uq_webhook_events_id"), "webhook_events", ["id"])
    op.create_check_constraint(
        op.f("ck_webhook_events_status"), "webhook_events", "status IN ('received', 'applied', 'ignored')"
    )
    op.create_check_constraint(
        op.f("ck_webhook_events_received_has_a_body"), "webhook_events", "status <> 'received' OR body IS NOT NULL"
    )
    op.create_index(op.f("ix_webhook_events_received_at"), "webhook_events", ["received_at", "id"])
    op.create_index(
        op.f("ix_webhook_events_subject"),
        "webhook_events",
        ["source", "subject"],
        postgresql_where="subject IS NOT NULL",
    )
    op.alter_column("admin_log", "user_id", nullable=True)
    for statement in SQL.read_text().split("\n--;\n"):
        op.execute(statement)


def downgrade() -> None:
    """Take them away, and with them what has yet to be applied. The role stays: other databases may use it."""
    for statement in WAS.split(";"):
        op.execute(statement)
    op.drop_index(op.f("ix_webhook_events_subject"), "webhook_events")
    op.drop_index(op.f("ix_webhook_events_received_at"), "webhook_events")
    for column in COLUMNS:
        op.drop_column("webhook_events", column.name)
