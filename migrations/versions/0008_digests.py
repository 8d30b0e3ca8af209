"""The digest of the day: a row that says that it is made.

Revision: 0008, after 0007.
"""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Make the table."""
    op.create_table(
        "ledger_digests",
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("made_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("root", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("day", name=op.f("pk_ledger_digests")),
    )
    op.execute("GRANT SELECT, INSERT ON ledger_digests TO tallyframe_worker, tallyframe_admin")


def downgrade() -> None:
    """Take it away."""
    op.drop_table("ledger_digests")
