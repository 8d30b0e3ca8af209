"""The outbox row. It lives until the work is claimed, so whatever Redis forgets is rung again."""

import sqlalchemy as sa

from tallyframe.db import id_column, metadata, time_column

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),  # the name of the worker's function
    id_column("ref", primary_key=True),  # what it is called with
    sa.Column(
        "serial", sa.BigInteger, sa.Identity(always=True), nullable=False
    ),  # tells one life of a row from the next
    time_column("due_at", now=True),  # when to ring (again)
    sa.Column("rings", sa.Integer, nullable=False, server_default="0"),
    sa.Index("ix_outbox_due_at", "due_at"),
)
