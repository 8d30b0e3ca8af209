"""The relay finds due jobs without passing the generations that wait, and one due generation without reading the rest.

Revision: 0013, after 0012.
"""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Index generations and jobs apart. Workers of the version before sort the rows that are due themselves."""
    op.drop_index("ix_outbox_due_at", "outbox")
    _index("ix_outbox_due_generations", "kind = 'run_generation'")
    _index("ix_outbox_due_jobs", "kind <> 'run_generation'")


def downgrade() -> None:
    """Index them together again."""
    op.drop_index("ix_outbox_due_jobs", "outbox")
    op.drop_index("ix_outbox_due_generations", "outbox")
    op.create_index("ix_outbox_due_at", "outbox", ["due_at"])


def _index(name: str, which: str) -> None:
    op.create_index(name, "outbox", ["due_at"], postgresql_where=sa.text(which))
