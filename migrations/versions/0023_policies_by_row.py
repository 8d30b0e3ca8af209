"""Row-level security of what hangs on projects and generations looks at the one row that it hangs on.

Revision: 0023, after 0022.

"There is such a project" may also be answered by reading all projects of the user first, and Postgres does so where it
expects many rows. "Whose is that project" can only be answered row by row. Who sees what stays the same.
"""

from alembic import op

from tallyframe.migrating import begin_locking

revision = "0023"
down_revision = "0022"
branch_labels = None
depends_on = None

#: (policy, table, the table with the owner, the column that names it)
POLICIES = (
    ("own", "project_images", "projects", "project_id"),
    ("own", "project_media", "projects", "project_id"),
    ("own", "generation_steps", "generations", "generation_id"),
    ("forget", "generation_steps", "generations", "generation_id"),
)


def upgrade() -> None:
    """Ask whose it is."""
    begin_locking(*{table: None for _, table, _, _ in POLICIES})
    for name, table, owner, key in POLICIES:
        op.execute(f"""
            ALTER POLICY {name} ON {table}
            USING ((SELECT user_id FROM {owner} WHERE {owner}.id = {table}.{key}) = (SELECT acting_user()))""")  # noqa: S608  # names of ours


def downgrade() -> None:
    """Ask whether it is there."""
    for name, table, owner, key in POLICIES:
        op.execute(
            f"ALTER POLICY {name} ON {table} USING (EXISTS (SELECT FROM {owner} WHERE {owner}.id = {table}.{key}))"
        )
