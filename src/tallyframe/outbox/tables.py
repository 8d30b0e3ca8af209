"""The outbox row. It stays until the work is claimed, so that Redis is told again of what it has forgotten."""

import sqlalchemy as sa

from tallyframe.columns import id_column, metadata, time_column

#: The kind whose rows share one wake-up: a worker that looks for a generation asks Postgres which one is next.
RUN_GENERATION = "run_generation"

outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("kind", sa.Text, primary_key=True),  # which handler is to be called
    id_column("ref", primary_key=True),  # what it is called with
    sa.Column(
        "serial", sa.BigInteger, sa.Identity(always=True), nullable=False
    ),  # tells one life of a row from the next
    time_column("due_at", now=True),  # when to tell a worker (again)
    sa.Column("rings", sa.Integer, nullable=False, server_default="0"),  # how often its job was enqueued
    sa.Index("ix_outbox_due_generations", "due_at", postgresql_where=sa.text(f"kind = '{RUN_GENERATION}'")),
    sa.Index("ix_outbox_due_jobs", "due_at", postgresql_where=sa.text(f"kind <> '{RUN_GENERATION}'")),
)

#: Which rows share one wake-up, and which are enqueued one by one. Literal, and not bound: the planner uses the partial
#: indexes above only if it sees that the query matches them.
SHARES_WAKE_UP = outbox.c.kind == sa.literal_column(f"'{RUN_GENERATION}'")
HAS_OWN_JOB = outbox.c.kind != sa.literal_column(f"'{RUN_GENERATION}'")
