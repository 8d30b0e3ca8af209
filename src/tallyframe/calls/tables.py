"""The tables of vendor calls, circuits and slots."""

import sqlalchemy as sa

from tallyframe.columns import id_column, metadata, time_column

#: running → one of the rest. abandoned: the worker died, was stopped, or lost its claim before the answer came; or,
#: with an error code, a picture of the order could not be read, and the vendor was not asked.
STATUSES = ("running", "succeeded", "accepted", "waiting", "failed", "in_doubt", "abandoned")
KINDS = ("order", "collect", "cancel")

ai_operations = sa.Table(
    "ai_operations",
    metadata,
    id_column(primary_key=True),
    id_column("generation_id", sa.ForeignKey("generations.id"), nullable=False, index=True),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("step", sa.Text),  # null in rows from before 0011
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False, server_default="running"),
    sa.Column("error_code", sa.Text),
    sa.Column("error", sa.Text),  # the vendor's own words, without secrets
    sa.Column("input_tokens", sa.BigInteger),
    sa.Column("output_tokens", sa.BigInteger),
    sa.Column("video_seconds", sa.Float),
    sa.Column("cost_micros", sa.BigInteger),  # millionths of a US dollar, where the price is known
    sa.Column("duration_ms", sa.Integer),
    sa.Column("vendor_request_id", sa.Text),
    time_column("created_at", now=True),
    sa.CheckConstraint(f"status IN ({', '.join(repr(status) for status in STATUSES)})", name="status"),
    sa.CheckConstraint(f"kind IN ({', '.join(repr(kind) for kind in KINDS)})", name="kind"),
    sa.Index("ix_ai_operations_created_at", "created_at"),
    sa.Index("ix_ai_operations_running", "created_at", postgresql_where=sa.text("status = 'running'")),
)

#: A row appears with the first failure. No order goes through before `open_until`; after it, one goes first, the probe.
provider_circuits = sa.Table(
    "provider_circuits",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("model", sa.Text, primary_key=True),
    sa.Column("failures", sa.Integer, nullable=False, server_default="0"),  # in a row, each of another generation
    id_column("failed_generation_id", nullable=True),  # the latest that failed
    time_column("open_until", nullable=True),
    time_column("probe_until", nullable=True),  # when the probe counts as dead
)

#: One row per call that a provider may have in flight. A slot is free when its time has run out.
provider_slots = sa.Table(
    "provider_slots",
    metadata,
    sa.Column("provider", sa.Text, primary_key=True),
    sa.Column("number", sa.Integer, primary_key=True),  # from 1
    id_column("holder", nullable=True),  # the call that has it
    time_column("held_until", now=True),
)
