"""The row of a worker process, renewed while it lives."""

import sqlalchemy as sa

from tallyframe.columns import metadata, time_column

workers = sa.Table(
    "workers",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("slots", sa.Integer, nullable=False),  # generations that it runs at once
    time_column("started_at", now=True),
    time_column("seen_at", now=True),
)
