"""Whoever deletes a project, this version erases it: also what the version before knows nothing of.

Revision: 0014, after 0013.

Processes of the version before erase what they know. Then, or instead, a worker of this version erases all; until there
is one, the call for it waits.
"""

from pathlib import Path

from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

VERSIONS = Path(__file__).parent
SQL = VERSIONS.parent / "sql"


def upgrade() -> None:
    """Write down calls of the version before as calls for workers of this one."""
    for statement in (SQL / "0014_erasing.sql").read_text().split("\n--;\n"):
        op.execute(statement)


def downgrade() -> None:
    """Give the calls back, and list the files by fence again, as 0011 does."""
    op.execute("DROP TRIGGER erase_project_files ON outbox")
    op.execute("DROP FUNCTION erase_project_files()")
    op.execute("UPDATE outbox SET kind = 'erase_project' WHERE kind = 'erase_project_files'")
    for statement in (SQL / "0011_any_operation.sql").read_text().split("\n--;\n"):
        if "files_by_fence()" in statement and "REVOKE" not in statement:
            op.execute(statement)
    op.execute("REVOKE EXECUTE ON FUNCTION files_by_fence() FROM PUBLIC")
