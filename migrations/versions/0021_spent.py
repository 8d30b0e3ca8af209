"""Keep with each account what it has spent, so that nobody has to sum up its entries to show it.

Revision: 0021, after 0020.

The trigger that writes the balance writes it, too. For entries from before, it is summed up account by account, while all
work on: the guard fills it in where it is missing, and only there. Cut off in the middle, the database stays at 0020 and
serves the version before; the next try goes on from there.
"""

import time
from uuid import UUID

import sqlalchemy as sa
from alembic import op

from tallyframe.migrating import begin_locking, outside_transaction

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

BATCH = 20  # accounts, whose owners can buy nothing meanwhile
PAUSE = 0.5  # seconds from one walk to the next, while somebody else holds accounts that are left

APPLY = """
    CREATE OR REPLACE FUNCTION ledger_apply() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE accounts SET balance = NEW.balance_after, version = NEW.version, head = NEW.hash{spent}
    WHERE id = NEW.account_id;
    RETURN NULL;
END $$"""
SPENT = """,
                        spent = spent - CASE WHEN NEW.kind IN ('debit', 'refund') THEN NEW.amount ELSE 0 END"""
APPLY_BEFORE = """
    CREATE OR REPLACE FUNCTION ledger_apply() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
BEGIN
    UPDATE accounts SET balance = NEW.balance_after, version = NEW.version, head = NEW.hash WHERE id = NEW.account_id;
    RETURN NULL;
END $$"""
GUARD = """
    CREATE OR REPLACE FUNCTION account_guard() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        NEW.balance := 0;
        NEW.version := 0;
        NEW.head := '';{new}
    ELSIF {filled}pg_trigger_depth() < 2 OR (NEW.id, NEW.user_id, NEW.created_at) \
<> (OLD.id, OLD.user_id, OLD.created_at) THEN
        RAISE insufficient_privilege USING MESSAGE = 'accounts change only by inserting a ledger entry';
    END IF;
    RETURN NEW;
END $$"""
NEW = """
        NEW.spent := 0;"""
FILL = """OLD.spent IS NULL AND pg_trigger_depth() < 2 THEN
        NEW := OLD;
        NEW.spent := (SELECT coalesce(sum(-amount), 0) FROM public.ledger_entries
                      WHERE account_id = OLD.id AND kind IN ('debit', 'refund'));
    ELSIF """
NEXT = """
    WITH batch AS (SELECT id FROM accounts WHERE id > :after ORDER BY id LIMIT :most),
         ours AS (SELECT id FROM accounts JOIN batch USING (id) WHERE spent IS NULL
                  FOR NO KEY UPDATE OF accounts SKIP LOCKED),
         filled AS (UPDATE accounts SET spent = 0 FROM ours WHERE accounts.id = ours.id)
    SELECT id FROM batch ORDER BY id DESC LIMIT 1"""
LEFT = "SELECT EXISTS (SELECT FROM accounts WHERE spent IS NULL)"


def upgrade() -> None:
    """Write what is spent from now on, fill in what was spent before, and leave nothing that could fill it in again."""
    begin_locking("accounts")
    op.execute("ALTER TABLE accounts ADD COLUMN IF NOT EXISTS spent bigint")
    op.execute(APPLY.format(spent=SPENT))
    op.execute(GUARD.format(new=NEW, filled=FILL))
    with outside_transaction() as connection:
        while connection.execute(sa.text(LEFT)).scalar_one():
            after: UUID | None = UUID(int=0)
            while after:
                after = connection.execute(sa.text(NEXT), {"after": after, "most": BATCH}).scalar_one_or_none()
            time.sleep(PAUSE)
    begin_locking("accounts")
    op.execute("ALTER TABLE accounts ALTER COLUMN spent SET NOT NULL, ALTER COLUMN spent SET DEFAULT 0")
    op.execute(GUARD.format(new=NEW, filled=""))


def downgrade() -> None:
    """Forget it."""
    op.execute(APPLY_BEFORE)
    op.execute(GUARD.format(new="", filled=""))
    op.execute("ALTER TABLE accounts DROP COLUMN spent")
