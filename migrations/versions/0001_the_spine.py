"""The spine: users, the ledger, projects, generations, assets and the outbox.

Revision: 0001, the first.
"""

from pathlib import Path

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

SQL = Path(__file__).parents[1] / "sql"


def run_file(name: str) -> None:
    """Run the statements of a file, one by one: asyncpg takes one at a time."""
    for statement in (SQL / name).read_text().split("\n--;\n"):
        op.execute(statement)


def upgrade() -> None:
    """Make the tables, the ledger's guards and the grants."""
    op.create_table(
        "outbox",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("ref", sa.Uuid(), nullable=False),
        sa.Column("serial", sa.BigInteger(), sa.Identity(always=True), nullable=False),
        sa.Column("due_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column("rings", sa.Integer(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("kind", "ref", name=op.f("pk_outbox")),
    )
    op.create_index("ix_outbox_due_at", "outbox", ["due_at"], unique=False)
    op.create_table(
        "erased_files",
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("storage", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("asset_id", name=op.f("pk_erased_files")),
    )
    op.create_index(op.f("ix_erased_files_project_id"), "erased_files", ["project_id"], unique=False)
    op.create_table(
        "users",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("issuer", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("display_name", sa.Text(), nullable=False),
        sa.Column("role", sa.Text(), server_default="user", nullable=False),
        sa.Column("is_member", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("role IN ('user', 'admin')", name=op.f("ck_users_role")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_users")),
        sa.UniqueConstraint("issuer", "subject", name=op.f("uq_users_issuer_subject")),
    )
    op.create_table(
        "accounts",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("balance", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("version", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("head", sa.LargeBinary(), server_default=sa.text("''::bytea"), nullable=False),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_accounts_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_accounts")),
        sa.UniqueConstraint("user_id", name=op.f("uq_accounts_user_id")),
    )
    op.create_table(
        "api_keys",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary(), nullable=False),
        sa.Column("last_four", sa.Text(), nullable=False),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("revoked_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_api_keys_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_api_keys")),
        sa.UniqueConstraint("secret_hash", name=op.f("uq_api_keys_secret_hash")),
    )
    op.create_index(op.f("ix_api_keys_user_id"), "api_keys", ["user_id"], unique=False)
    op.create_table(
        "projects",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("status_sequence", sa.Integer(), server_default="1", nullable=False),
        sa.Column("is_published", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("prompt_id", sa.Uuid(), nullable=True),
        sa.Column("aspect_ratio", sa.Text(), nullable=False),
        sa.Column(
            "metadata", postgresql.JSONB(astext_type=sa.Text()), server_default=sa.text("'{}'::jsonb"), nullable=False
        ),
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        sa.Column("image_asset_id", sa.Uuid(), nullable=True),
        sa.Column("video_asset_id", sa.Uuid(), nullable=True),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column(
            "updated_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("published_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("deleted_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("kind IN ('image', 'video')", name=op.f("ck_projects_kind")),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'draft', 'failed', 'canceled')", name=op.f("ck_projects_status")
        ),
        sa.CheckConstraint(
            "NOT is_published OR image_asset_id IS NOT NULL OR video_asset_id IS NOT NULL",
            name=op.f("ck_projects_published_has_media"),
        ),
        sa.CheckConstraint("is_published = (published_at IS NOT NULL)", name=op.f("ck_projects_published")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_projects_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_projects")),
    )
    op.create_index(
        "ix_projects_published",
        "projects",
        ["published_at", "id"],
        unique=False,
        postgresql_where=sa.text("is_published"),
    )
    op.create_index(
        "ix_projects_user_id_id",
        "projects",
        ["user_id", "id"],
        unique=False,
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_table(
        "generations",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("operation", sa.Text(), nullable=False),
        sa.Column("input", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.Column("credits", sa.BigInteger(), nullable=False),
        sa.Column("status", sa.Text(), server_default="pending", nullable=False),
        sa.Column("step", sa.Text(), server_default="queued", nullable=False),
        sa.Column("attempt", sa.Integer(), server_default="0", nullable=False),
        sa.Column("retries", sa.Integer(), server_default="0", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("worker", sa.Text(), nullable=True),
        sa.Column("lease_until", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("wake_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("expires_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("provider", sa.Text(), nullable=True),
        sa.Column("model", sa.Text(), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("error_message", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("started_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.Column("finished_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint(
            "(error_code IS NOT NULL) = (status IN ('failed', 'canceled'))",
            name=op.f("ck_generations_failed_has_error"),
        ),
        sa.CheckConstraint(
            "(finished_at IS NOT NULL) = (status IN ('succeeded', 'failed', 'canceled'))",
            name=op.f("ck_generations_final_is_finished"),
        ),
        sa.CheckConstraint(
            "lease_until IS NULL OR status = 'processing'", name=op.f("ck_generations_leased_is_processing")
        ),
        sa.CheckConstraint(
            "status IN ('pending', 'processing', 'succeeded', 'failed', 'canceled')", name=op.f("ck_generations_status")
        ),
        sa.CheckConstraint(
            "step IN ('queued', 'generating', 'storing', 'completed')", name=op.f("ck_generations_step")
        ),
        sa.CheckConstraint("credits >= 0", name=op.f("ck_generations_credits")),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_generations_account_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_generations_project_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_generations_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_generations")),
    )
    op.create_index(
        "ix_generations_live",
        "generations",
        ["created_at", "id"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'processing')"),
    )
    op.create_index(
        "ix_generations_live_by_user",
        "generations",
        ["user_id"],
        unique=False,
        postgresql_where=sa.text("status IN ('pending', 'processing')"),
    )
    op.create_index(op.f("ix_generations_project_id"), "generations", ["project_id"], unique=False)
    op.create_table(
        "assets",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("user_id", sa.Uuid(), nullable=False),
        sa.Column("project_id", sa.Uuid(), nullable=True),
        sa.Column("generation_id", sa.Uuid(), nullable=True),
        sa.Column("storage", sa.Text(), nullable=False),
        sa.Column("key", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("bytes", sa.BigInteger(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("duration_seconds", sa.Float(), nullable=True),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.CheckConstraint("bytes > 0 AND width > 0 AND height > 0", name=op.f("ck_assets_size")),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name=op.f("fk_assets_generation_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_assets_project_id")),
        sa.ForeignKeyConstraint(["user_id"], ["users.id"], name=op.f("fk_assets_user_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_assets")),
        sa.UniqueConstraint("storage", "key", name=op.f("uq_assets_storage_key")),
    )
    op.create_index(op.f("ix_assets_generation_id"), "assets", ["generation_id"], unique=False)
    op.create_index(op.f("ix_assets_project_id"), "assets", ["project_id"], unique=False)
    op.create_index(op.f("ix_assets_user_id"), "assets", ["user_id"], unique=False)
    op.create_table(
        "generation_steps",
        sa.Column("generation_id", sa.Uuid(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("provider", sa.Text(), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("ticket", sa.Text(), nullable=True),
        sa.Column("result", postgresql.JSONB(astext_type=sa.Text()), nullable=True),
        sa.Column("error_code", sa.Text(), nullable=True),
        sa.Column("is_final", sa.Boolean(), server_default=sa.text("false"), nullable=False),
        sa.Column("operator_message", sa.Text(), nullable=True),
        sa.Column(
            "created_at", sa.TIMESTAMP(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False
        ),
        sa.Column("ended_at", sa.TIMESTAMP(timezone=True), nullable=True),
        sa.CheckConstraint("state <> 'done' OR result IS NOT NULL", name=op.f("ck_generation_steps_done_has_result")),
        sa.CheckConstraint("state <> 'ticket' OR ticket IS NOT NULL", name=op.f("ck_generation_steps_ticket")),
        sa.CheckConstraint(
            "state IN ('intent', 'ticket', 'done', 'failed', 'in_doubt', 'orphaned')",
            name=op.f("ck_generation_steps_state"),
        ),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name=op.f("fk_generation_steps_generation_id")),
        sa.PrimaryKeyConstraint("generation_id", "name", "attempt", name=op.f("pk_generation_steps")),
    )
    op.create_table(
        "ledger_entries",
        sa.Column("id", sa.Uuid(), nullable=False),
        sa.Column("account_id", sa.Uuid(), nullable=False),
        sa.Column("version", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("balance_after", sa.BigInteger(), nullable=False),
        sa.Column("generation_id", sa.Uuid(), nullable=True),
        sa.Column("reverses_entry_id", sa.Uuid(), nullable=True),
        sa.Column("reference", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("created_at", sa.TIMESTAMP(timezone=True), nullable=False),
        sa.Column("hash", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint(
            "(kind = 'refund') = (reverses_entry_id IS NOT NULL)", name=op.f("ck_ledger_entries_refund_reverses")
        ),
        sa.CheckConstraint(
            "CASE WHEN kind IN ('debit', 'clawback') THEN amount < 0 WHEN kind = 'adjustment' THEN amount <> 0 ELSE amount > 0 END",
            name=op.f("ck_ledger_entries_sign"),
        ),
        sa.CheckConstraint(
            "kind <> 'adjustment' OR reason IS NOT NULL", name=op.f("ck_ledger_entries_adjustment_has_reason")
        ),
        sa.CheckConstraint(
            "kind IN ('grant', 'purchase', 'debit', 'refund', 'adjustment', 'clawback')",
            name=op.f("ck_ledger_entries_kind"),
        ),
        sa.CheckConstraint(
            "kind NOT IN ('debit', 'refund') OR generation_id IS NOT NULL", name=op.f("ck_ledger_entries_generation")
        ),
        sa.ForeignKeyConstraint(["account_id"], ["accounts.id"], name=op.f("fk_ledger_entries_account_id")),
        sa.ForeignKeyConstraint(["generation_id"], ["generations.id"], name=op.f("fk_ledger_entries_generation_id")),
        sa.ForeignKeyConstraint(
            ["reverses_entry_id"], ["ledger_entries.id"], name=op.f("fk_ledger_entries_reverses_entry_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_ledger_entries")),
        sa.UniqueConstraint("account_id", "version", name=op.f("uq_ledger_entries_account_id_version")),
        sa.UniqueConstraint("kind", "reference", name=op.f("uq_ledger_entries_kind_reference")),
        sa.UniqueConstraint("reverses_entry_id", name=op.f("uq_ledger_entries_reverses_entry_id")),
    )
    op.create_index(op.f("ix_ledger_entries_generation_id"), "ledger_entries", ["generation_id"], unique=False)
    op.create_index(
        "uq_ledger_entries_one_debit_per_generation",
        "ledger_entries",
        ["generation_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'debit'"),
    )
    op.create_index(
        "uq_ledger_entries_one_refund_per_generation",
        "ledger_entries",
        ["generation_id"],
        unique=True,
        postgresql_where=sa.text("kind = 'refund'"),
    )
    op.create_table(
        "project_images",
        sa.Column("project_id", sa.Uuid(), nullable=False),
        sa.Column("position", sa.SmallInteger(), nullable=False),
        sa.Column("asset_id", sa.Uuid(), nullable=False),
        sa.ForeignKeyConstraint(["asset_id"], ["assets.id"], name=op.f("fk_project_images_asset_id")),
        sa.ForeignKeyConstraint(["project_id"], ["projects.id"], name=op.f("fk_project_images_project_id")),
        sa.PrimaryKeyConstraint("project_id", "position", name=op.f("pk_project_images")),
    )
    op.create_index(op.f("ix_project_images_asset_id"), "project_images", ["asset_id"], unique=False)
    run_file("0001_ledger.sql")
    run_file("0001_grants.sql")


def downgrade() -> None:
    """Drop everything."""
    op.execute("DROP FUNCTION ledger_entry_hash(ledger_entries, bytea)")
    op.drop_index(op.f("ix_project_images_asset_id"), table_name="project_images")
    op.drop_table("project_images")
    op.drop_index(
        "uq_ledger_entries_one_refund_per_generation",
        table_name="ledger_entries",
        postgresql_where=sa.text("kind = 'refund'"),
    )
    op.drop_index(
        "uq_ledger_entries_one_debit_per_generation",
        table_name="ledger_entries",
        postgresql_where=sa.text("kind = 'debit'"),
    )
    op.drop_index(op.f("ix_ledger_entries_generation_id"), table_name="ledger_entries")
    op.drop_table("ledger_entries")
    op.drop_table("generation_steps")
    op.drop_index(op.f("ix_assets_user_id"), table_name="assets")
    op.drop_index(op.f("ix_assets_project_id"), table_name="assets")
    op.drop_index(op.f("ix_assets_generation_id"), table_name="assets")
    op.drop_table("assets")
    op.drop_index(op.f("ix_generations_project_id"), table_name="generations")
    op.drop_index(
        "ix_generations_live_by_user",
        table_name="generations",
        postgresql_where=sa.text("status IN ('pending', 'processing')"),
    )
    op.drop_index(
        "ix_generations_live", table_name="generations", postgresql_where=sa.text("status IN ('pending', 'processing')")
    )
    op.drop_table("generations")
    op.drop_index("ix_projects_user_id_id", table_name="projects", postgresql_where=sa.text("deleted_at IS NULL"))
    op.drop_index("ix_projects_published", table_name="projects", postgresql_where=sa.text("is_published"))
    op.drop_table("projects")
    op.drop_index(op.f("ix_api_keys_user_id"), table_name="api_keys")
    op.drop_table("api_keys")
    op.drop_table("accounts")
    op.drop_table("users")
    op.drop_index("ix_outbox_due_at", table_name="outbox")
    op.drop_table("outbox")
    op.drop_index(op.f("ix_erased_files_project_id"), table_name="erased_files")
    op.drop_table("erased_files")
    for function in ("ledger_post()", "ledger_apply()", "ledger_refuse()", "account_guard()"):
        op.execute(f"DROP FUNCTION {function}")
    # The role stays: other databases of this server may use it, and without grants it can do nothing.
    op.execute("REVOKE ALL ON SCHEMA public FROM tallyframe_app")
