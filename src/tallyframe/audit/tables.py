"""The row of an invariant: what its latest check has found."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.columns import metadata, time_column

audits = sa.Table(
    "audits",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),  # the invariant's
    time_column("checked_at"),
    sa.Column("milliseconds", sa.BigInteger, nullable=False),  # that the check took, without its waits
    sa.Column("checked", sa.BigInteger, nullable=False),  # things looked at
    sa.Column("violations", sa.BigInteger, nullable=False),  # of what is only counted: how much of it there is
    sa.Column("examples", postgresql.JSONB, nullable=False),  # [{"subject", "detail"}], the first few violations
)
