"""Row-level security: the API sees the rows of the user it acts for, and each process may do what it needs.

Revision: 0007, after 0006.
"""

from pathlib import Path

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql" / "0007_row_level_security.sql"

UNDO = """DO $$
DECLARE
    policy record;
    guarded text;
BEGIN
    FOR policy IN SELECT policyname, tablename FROM pg_policies WHERE schemaname = 'public' LOOP
        EXECUTE format('DROP POLICY %I ON %I', policy.policyname, policy.tablename);
    END LOOP;
    FOR guarded IN SELECT relname FROM pg_class WHERE relrowsecurity AND relnamespace = 'public'::regnamespace LOOP
        EXECUTE format('ALTER TABLE %I NO FORCE ROW LEVEL SECURITY, DISABLE ROW LEVEL SECURITY', guarded);
    END LOOP;
END $$"""
ROLES = ("tallyframe_api", "tallyframe_worker", "tallyframe_admin")


def upgrade() -> None:
    """Make the roles, their rights and the policies."""
    for statement in SQL.read_text().split("\n--;\n"):
        op.execute(statement)


def downgrade() -> None:
    """Go back to one role that sees everything. The roles stay: other databases of this server may use them."""
    op.execute(UNDO)
    op.execute("DROP TRIGGER own_project_images ON project_images")
    for function in ("own_project_images()", "acting_account()", "acting_user()"):
        op.execute(f"DROP FUNCTION {function}")
    for role in ROLES:
        op.execute(f"REVOKE ALL ON ALL TABLES IN SCHEMA public FROM {role}")
        op.execute(f"REVOKE ALL ON SCHEMA public FROM {role}")
