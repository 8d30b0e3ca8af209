"""For operators: what the auditor finds, what administrators do, and what they find out about doubts.

Revision: 0006, after 0005.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the tables and the column."""
    _make_audits()
    _make_admin_log()
    op.add_column("generation_steps", sa.Column("resolution", sa.Text(), nullable=True))
    op.create_check_constraint(
        op.f("ck_generation_steps_resolution"), "generation_steps", "resolution IN ('settled', 'refunded')"
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON audits TO tallyframe_app")
    op.execute("GRANT SELECT, INSERT ON admin_log TO tallyframe_app")


def downgrade() -> None:
    """Take them away."""
    op.drop_column("generation_steps", "resolution")
    op.drop_table("admin_log")
    op.drop_table("audits")


def _make_audits() -> None:
    op.create_table(
        "audits",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("checked_at", sa.TIMESTAMP(timezone=True), nullable=False),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in ("milliseconds", "checked", "violations")),
        sa.Column("examples", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_audits")),
    )


def _make_admin_log() -> None:
    op.create_table(
        "admin_log",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("admin_id", sa.Uuid(), nullable=False),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("generation_id", sa.Uuid(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column(
            "details", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("reason <> ''", name=op.f("ck_admin_log_reason")),
        sa.ForeignKeyConstraint(["admin_id"], ["users.id"], name=op.f("fk_admin_log_admin_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_admin_log_user_id")),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name=op.f("fk_admin_log_generation_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_admin_log")),
    )
    for column in ("user_id", "generation_id"):
        op.create_index(op.f(f"ix_admin_log_{column}"), "admin_log", [column])
    for name, events, each in (("append_only", "UPDATE OR DELETE", "ROW"), ("no_truncate", "TRUNCATE", "STATEMENT")):
        op.execute(
            f"CREATE TRIGGER admin_log_{name} BEFORE {events} ON admin_log FOR EACH {each}"
            " EXECUTE FUNCTION ledger_refuse()"
        )
        op.execute(f"ALTER TABLE admin_log ENABLE ALWAYS TRIGGER admin_log_{name}")
