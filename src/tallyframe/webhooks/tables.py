"""The rows of webhooks' events: one per event, so that one that is sent again is known."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.columns import id_column, metadata, time_column

#: The kind of an outbox row for a stored event, and the name of the worker's function.
APPLY_WEBHOOK = "apply_webhook"

#: The defaults are for processes of the version before, which insert source, event_id and type of what they apply.
webhook_events = sa.Table(
    "webhook_events",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),  # who sent it, such as "clerk"
    sa.Column("event_id", sa.Text, primary_key=True),  # the source's id, the same at each try to deliver
    sa.Column("type", sa.Text, nullable=False),
    time_column("received_at", now=True),
    id_column("id", nullable=False, unique=True, server_default=sa.text("gen_random_uuid()")),  # ours
    sa.Column("status", sa.Text, nullable=False, server_default="applied"),
    sa.Column("subject", sa.Text),  # the source's id of the person whom it is about
    sa.Column("headers", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("body", sa.LargeBinary),  # as it came; null: erased, or from before bodies were stored
    sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),  # tries to apply it
    sa.Column("error", sa.Text),  # why the latest try failed
    time_column("finished_at", nullable=True),  # when it was last applied or ignored
    sa.CheckConstraint("status IN ('received', 'applied', 'ignored')", name="status"),
    sa.CheckConstraint("status <> 'received' OR body IS NOT NULL", name="received_has_a_body"),
    sa.Index("ix_webhook_events_received_at", "received_at", "id"),
    sa.Index("ix_webhook_events_subject", "source", "subject", postgresql_where=sa.text("subject IS NOT NULL")),
)
