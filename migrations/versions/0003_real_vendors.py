"""Real vendors: every call to one is a row, circuits and slots are shared, and what nobody waits for is withdrawn.

Revision: 0003, after 0002.
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

STATES = "'intent', 'ticket', 'done', 'failed', 'in_doubt', 'orphaned'"


def upgrade() -> None:
    """Make the tables of vendor calls and let a step be withdrawn."""
    _make_ai_operations()
    _make_provider_state()
    _allow_states(f"{STATES}, 'withdrawn'")
    open_steps = sa.text("state IN ('intent', 'ticket')")
    op.create_index("ix_generation_steps_open", "generation_steps", ["generation_id"], postgresql_where=open_steps)
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON ai_operations TO tallyframe_app")
    op.execute("GRANT SELECT, INSERT, UPDATE ON provider_circuits, provider_slots TO tallyframe_app")


def downgrade() -> None:
    """Go back: what was withdrawn counts as failed, as before."""
    op.execute("DELETE FROM outbox WHERE kind = 'withdraw'")  # nobody knows how any more
    op.drop_index("ix_generation_steps_open", "generation_steps")
    op.execute("UPDATE generation_steps SET state = 'failed' WHERE state = 'withdrawn'")
    _allow_states(STATES)
    for table in ("provider_slots", "provider_circuits", "ai_operations"):
        op.drop_table(table)


def _allow_states(states: str) -> None:
    op.drop_constraint(op.f("ck_generation_steps_state"), "generation_steps", type_="check")
    op.create_check_constraint(op.f("ck_generation_steps_state"), "generation_steps", f"state IN ({states})")


def _make_ai_operations() -> None:
    op.create_table(
        "ai_operations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("operation", "kind")),
        sa.Column("attempt", sa.Integer(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in ("provider", "model")),
        sa.Column("status", sa.Text(), server_default="running", nullable=False),
        *(sa.Column(name, sa.Text(), nullable=True) for name in ("error_code", "error")),
        *(sa.Column(name, sa.BigInteger(), nullable=True) for name in ("input_tokens", "output_tokens")),
        sa.Column("video_seconds", sa.Float(), nullable=True),
        sa.Column("cost_micros", sa.BigInteger(), nullable=True),
        sa.Column("duration_ms", sa.Integer(), nullable=True),
        sa.Column("vendor_request_id", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint(
            "status IN ('running', 'succeeded', 'accepted', 'waiting', 'failed', 'in_doubt', 'abandoned')",
            name=op.f("ck_ai_operations_status"),
        ),
        sa.CheckConstraint("kind IN ('order', 'collect', 'cancel')", name=op.f("ck_ai_operations_kind")),
        sa.ForeignKeyConstraint(
            ["generation_id"], ["generations.id"], name=op.f("fk_ai_operations_generation_id_generations")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ai_operations")),
    )
    op.create_index("ix_ai_operations_created_at", "ai_operations", ["created_at"])
    op.create_index(op.f("ix_ai_operations_generation_id"), "ai_operations", ["generation_id"])
    running = sa.text("status = 'running'")
    op.create_index("ix_ai_operations_running", "ai_operations", ["created_at"], postgresql_where=running)


def _make_provider_state() -> None:
    op.create_table(
        "provider_circuits",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("failures", sa.Integer(), server_default="0", nullable=False),
        sa.Column("failed_generation_id", sa.Uuid(), nullable=True),
        sa.Column("open_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("probe_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.PrimaryKeyConstraint("provider", "model", name=op.f("pk_provider_circuits")),
    )
    op.create_table(
        "provider_slots",
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("holder", sa.Uuid(), nullable=True),
        sa.Column(
            "held_until", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.PrimaryKeyConstraint("provider", "number", name=op.f("pk_provider_slots")),
    )
