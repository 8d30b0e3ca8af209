"""Everybody's first generation comes before anybody's second; and who is there to run them.

Revision: 0005, after 0004.
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

LIVE = "status IN ('pending', 'processing')"


def upgrade() -> None:
    """Give each generation its turn, and workers a table."""
    op.add_column("generations", sa.Column("turn", sa.Integer(), server_default="0", nullable=False))
    _index_live("turn", "id")
    op.create_table(
        "workers",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("slots", sa.Integer(), nullable=False),
        *(
            sa.Column(name, sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False)
            for name in ("started_at", "seen_at")
        ),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_workers")),
    )
    op.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON workers TO tallyframe_app")


def downgrade() -> None:
    """Take both away."""
    op.drop_table("workers")
    _index_live("created_at", "id")
    op.drop_column("generations", "turn")


def _index_live(*columns: str) -> None:
    op.drop_index("ix_generations_live", "generations")
    op.create_index("ix_generations_live", "generations", columns, postgresql_where=sa.text(LIVE))
