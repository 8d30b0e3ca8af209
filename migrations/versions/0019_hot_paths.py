"""Make room for the functions that run statements of the hot paths on a user's behalf (src/tallyframe/db/statements.py).

They are made after the migrations, because they change with the code. And let an order keep its answer with its key in
one statement: until now it came in a second one.

Revision ID: 0019
Revises: 0018
"""

from alembic import op

revision = "0019"
down_revision = "0018"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Nobody but the API calls these functions; they have the caller's rights."""
    op.execute("CREATE SCHEMA hot")
    op.execute("GRANT USAGE ON SCHEMA hot TO tallyframe_api")
    op.execute("GRANT INSERT (answer) ON idempotency_keys TO tallyframe_api")


def downgrade() -> None:
    """Take both back."""
    op.execute("REVOKE INSERT (answer) ON idempotency_keys FROM tallyframe_api")
    op.execute("DROP SCHEMA hot CASCADE")
