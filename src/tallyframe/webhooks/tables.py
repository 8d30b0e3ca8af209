"""The rows of what has been told: one per event, so that telling it again changes nothing."""

import sqlalchemy as sa

from tallyframe.db import metadata, time_column

webhook_events = sa.Table(
    "webhook_events",
    metadata,
    sa.Column("source", sa.Text, primary_key=True),  # who told it, such as "clerk"
    sa.Column("event_id", sa.Text, primary_key=True),  # the source's id, the same at each try to deliver
    sa.Column("type", sa.Text, nullable=False),
    time_column("received_at", now=True),
)
