"""Keep the turn that was served last, instead of working it out from what lives.

A generation that sleeps, or whose user has all slots, kept the lowest turn of all for as long as it liked. Meanwhile
each newcomer was given that turn, and so was served before everybody who had waited.

Revision ID: 0016
Revises: 0015
"""

from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None

_FUNCTION = """
CREATE OR REPLACE FUNCTION turn_served_now() RETURNS bigint LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, public, pg_temp
RETURN {}"""
_LOWEST = """coalesce(
    (SELECT min(turn) FROM generations WHERE status IN ('pending', 'processing') AND lease_until IS NULL),
    (SELECT min(turn) FROM generations WHERE status IN ('pending', 'processing')),
    0)"""


def upgrade() -> None:
    """Start before the lowest turn. A newcomer gets the one after that which was served last.

    With the same one, who orders again whenever an order has ended would be first each time.
    """
    op.execute("CREATE SEQUENCE turn_served MINVALUE 0 START 0")
    op.execute("GRANT SELECT, UPDATE ON SEQUENCE turn_served TO tallyframe_worker")
    # The function reads as the owner, whom the policy `bookkeeping` shows all generations.
    op.execute("SET LOCAL row_security = on")
    op.execute("SELECT setval('turn_served', greatest(turn_served_now() - 1, 0))")
    op.execute("SET LOCAL row_security = off")
    op.execute(_FUNCTION.format("(SELECT last_value + 1 FROM turn_served)"))


def downgrade() -> None:
    """Work it out again."""
    op.execute(_FUNCTION.format(_LOWEST))
    op.execute("DROP SEQUENCE turn_served")
