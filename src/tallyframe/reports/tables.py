"""What triggers count as it ends, so that nobody has to count all of it again."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.columns import metadata

#: A counter has as many rows as transactions that counted it up at the same time; their sum is its value.
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("id", sa.BigInteger, sa.Identity(always=True), primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("labels", postgresql.ARRAY(sa.Text), nullable=False),
    sa.Column("count", sa.BigInteger, nullable=False),
    sa.Column("total", sa.Float, nullable=False),  # seconds or credits, where the counter adds up any
    sa.Index("ix_counters_name", "name", "labels"),
    postgresql_with={"fillfactor": 50},
)
