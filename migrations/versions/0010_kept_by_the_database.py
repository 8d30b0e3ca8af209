"""Ends are final, refunds are due and generations stay what they are, by the database's own word.

Revision: 0010, after 0009.
"""

from pathlib import Path

from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"

WAS = """
    GRANT EXECUTE ON FUNCTION ledger_entry_hash(ledger_entries, bytea), ledger_post(), ledger_apply(), ledger_refuse(),
        account_guard(), own_project_images() TO PUBLIC;
    DROP TRIGGER ledger_refund_is_due ON ledger_entries;
    DROP TRIGGER generation_of_own_project ON generations;
    DROP TRIGGER generation_stays ON generations;
    DROP FUNCTION refund_is_due(), generation_of_own_project(), generation_stays();
    GRANT INSERT, UPDATE ON projects, generations, api_keys, idempotency_keys, assets, project_images, erased_files
        TO tallyframe_api;
    GRANT UPDATE ON projects, generations, idempotency_keys TO tallyframe_worker;
    GRANT INSERT, UPDATE ON projects, generations TO tallyframe_admin;
    REVOKE SELECT ON admin_log FROM tallyframe_worker;
    ALTER POLICY own ON erased_files WITH CHECK (EXISTS (SELECT FROM projects WHERE id = project_id))"""


def upgrade() -> None:
    """Make triggers and rights, and indexes for a user's generations and for doubts that a vendor can be asked about."""
    for statement in (SQL / "0010_kept_by_the_database.sql").read_text().split("\n--;\n"):
        op.execute(statement)
    op.create_index(op.f("ix_generations_user_id"), "generations", ["user_id", "id"])
    op.create_index(
        op.f("ix_generation_steps_doubted_ticket"),
        "generation_steps",
        ["generation_id"],
        postgresql_where="state = 'in_doubt' AND ticket IS NOT NULL",
    )


def downgrade() -> None:
    """Leave it to the code again. The accounts' guard stays as it is: it refuses more, and nothing that is done."""
    op.drop_index(op.f("ix_generations_user_id"), "generations")
    op.drop_index(op.f("ix_generation_steps_doubted_ticket"), "generation_steps")
    for statement in WAS.split(";"):
        op.execute(statement)
