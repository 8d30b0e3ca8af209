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


#: The first of those that wait, or else of those that run. Of everybody's generations, so it looks past row-level security; it tells a number and nothing else.
TURN_SERVED_NOW = """
CREATE FUNCTION turn_served_now() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
RETURN coalesce(
    (SELECT min(turn) FROM generations WHERE status IN ('pending', 'processing') AND lease_until IS NULL),
    (SELECT min(turn) FROM generations WHERE status IN ('pending', 'processing')),
    0)"""


def upgrade() -> None:
    """Give each generation its turn, and workers a table."""
    op.add_column("generations", sa.Column("turn", sa.BigInteger(), server_default="0", nullable=False))
    _index("ix_generations_live", "turn", "id")
    _index("ix_generations_live_by_user", "user_id", "turn")
    op.execute(TURN_SERVED_NOW)
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
    op.execute("DROP FUNCTION turn_served_now()")
    _index("ix_generations_live", "created_at", "id")
    _index("ix_generations_live_by_user", "user_id")
    op.drop_column("generations", "turn")


def _index(name: str, *columns: str) -> None:
    op.drop_index(name, "generations")
    op.create_index(name, "generations", columns, postgresql_where=sa.text(LIVE))
