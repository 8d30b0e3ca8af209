"""The rows of credit accounts and ledger entries. A trigger alone writes `balance`, `spent`, `version` and `head`."""

import sqlalchemy as sa

from tallyframe.columns import id_column, metadata, time_column

accounts = sa.Table(
    "accounts",
    metadata,
    id_column(primary_key=True),
    id_column("user_id", sa.ForeignKey("users.id"), nullable=False, unique=True),
    sa.Column("balance", sa.BigInteger, nullable=False, server_default="0"),  # credits
    sa.Column("spent", sa.BigInteger, nullable=False, server_default="0"),  # credits: debited and not refunded
    sa.Column("version", sa.BigInteger, nullable=False, server_default="0"),  # number of the last entry
    sa.Column("head", sa.LargeBinary, nullable=False, server_default=sa.text("''::bytea")),  # hash of the last entry
    time_column("created_at", now=True),
)

ledger_entries = sa.Table(
    "ledger_entries",
    metadata,
    id_column(primary_key=True),
    id_column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("version", sa.BigInteger, nullable=False),  # 1, 2, 3 ... per account, without gaps
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("amount", sa.BigInteger, nullable=False),  # credits, signed
    sa.Column("balance_after", sa.BigInteger, nullable=False),  # credits
    id_column("generation_id", sa.ForeignKey("generations.id"), nullable=True, index=True),
    id_column("reverses_entry_id", sa.ForeignKey("ledger_entries.id"), nullable=True, unique=True),
    sa.Column("reference", sa.Text, nullable=False),  # the cause, unique per kind
    sa.Column("reason", sa.Text),
    time_column("created_at"),
    sa.Column("hash", sa.LargeBinary, nullable=False),  # SHA-256 over this entry and the one before
    sa.UniqueConstraint("account_id", "version"),
    sa.UniqueConstraint("kind", "reference"),
    sa.CheckConstraint(
        "kind IN ('grant', 'purchase', 'debit', 'refund', 'adjustment', 'clawback')",
        name="kind",
    ),
    sa.CheckConstraint(
        "CASE WHEN kind IN ('debit', 'clawback') THEN amount < 0 WHEN kind = 'adjustment' THEN amount <> 0"
        " ELSE amount > 0 END",
        name="sign",
    ),
    sa.CheckConstraint("(kind = 'refund') = (reverses_entry_id IS NOT NULL)", name="refund_reverses"),
    sa.CheckConstraint("kind NOT IN ('debit', 'refund') OR generation_id IS NOT NULL", name="generation"),
    sa.CheckConstraint("kind <> 'adjustment' OR reason IS NOT NULL", name="adjustment_has_reason"),
    sa.Index(
        "uq_ledger_entries_one_debit_per_generation",
        "generation_id",
        unique=True,
        postgresql_where=sa.text("kind = 'debit'"),
    ),
    sa.Index(
        "uq_ledger_entries_one_refund_per_generation",
        "generation_id",
        unique=True,
        postgresql_where=sa.text("kind = 'refund'"),
    ),
)

#: A row says that the digest of that day was made. It counts only if it was made on that day: a trigger writes
#: `made_at`, whatever an insert says. It proves nothing: what counts is the digest that lies outside of the database.
ledger_digests = sa.Table(
    "ledger_digests",
    metadata,
    sa.Column("day", sa.Date),  # UTC
    time_column("made_at", now=True),
    sa.Column("root", sa.Text, nullable=False),
    sa.PrimaryKeyConstraint("day", "made_at"),
)
