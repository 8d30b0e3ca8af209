"""The digest of the day: when a row was made is what the clock says, and not what the row says of itself.

A worker's role could claim all days to come at once, and no digest was made any more. A row now counts for the day on
which it was made. Rows of days to come go, and the key has room for a day's true row beside one that was made before.

The version before goes on working: it still says when its digest was made, and is overruled. Waits for a digest that is
just being written, for as long as migrations wait for a lock; then try again.

Revision: 0009, after 0008.
"""

from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

MADE_NOW = """
    CREATE FUNCTION ledger_digest_made_now() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        NEW.made_at := clock_timestamp();
        RETURN NEW;
    END $$"""
TRIGGER = """
    CREATE TRIGGER ledger_digest_made_now BEFORE INSERT ON ledger_digests
    FOR EACH ROW EXECUTE FUNCTION ledger_digest_made_now()"""


def upgrade() -> None:
    """Let the clock say when a row was made."""
    op.execute("DELETE FROM ledger_digests WHERE day > (now() AT TIME ZONE 'UTC')::date")
    op.execute("ALTER TABLE ledger_digests ALTER made_at SET DEFAULT clock_timestamp()")
    op.execute(MADE_NOW)
    op.execute(TRIGGER)
    op.execute("ALTER TABLE ledger_digests ENABLE ALWAYS TRIGGER ledger_digest_made_now")
    op.drop_constraint("pk_ledger_digests", "ledger_digests")
    op.create_primary_key("pk_ledger_digests", "ledger_digests", ["day", "made_at"])


def downgrade() -> None:
    """Go back to one row per day, the first, and what it says of itself."""
    op.execute("""
        DELETE FROM ledger_digests AS later USING ledger_digests AS first
        WHERE first.day = later.day AND first.made_at < later.made_at""")
    op.drop_constraint("pk_ledger_digests", "ledger_digests")
    op.create_primary_key("pk_ledger_digests", "ledger_digests", ["day"])
    op.execute("DROP TRIGGER ledger_digest_made_now ON ledger_digests")
    op.execute("DROP FUNCTION ledger_digest_made_now()")
    op.execute("ALTER TABLE ledger_digests ALTER made_at DROP DEFAULT")
