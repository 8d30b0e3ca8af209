"""The row of a used idempotency key. It is written with what the request made, and is pruned after a day."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.columns import id_column, metadata, time_column

idempotency_keys = sa.Table(
    "idempotency_keys",
    metadata,
    id_column("user_id", sa.ForeignKey("users.id"), primary_key=True),
    sa.Column("key", sa.Text, primary_key=True),  # as the client chose it
    sa.Column("fingerprint", sa.LargeBinary, nullable=False),  # SHA-256 of what was asked
    id_column("ref", nullable=False),  # what was made; of an order, the generation
    sa.Column(
        "answer", postgresql.JSONB(none_as_null=True)
    ),  # the body of the first answer; empty until it is known, null when forgotten
    time_column("created_at", now=True),
    sa.Index(None, "created_at"),
)
