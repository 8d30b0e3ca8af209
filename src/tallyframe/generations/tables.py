"""The rows of generations and of their steps. CHECKs hold the states that `states.py` draws."""

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.columns import id_column, metadata, time_column
from tallyframe.generations.states import FINAL, LIVE
from tallyframe.operations.base import MAIN

_final = ", ".join(f"'{state}'" for state in FINAL)
_live = ", ".join(f"'{state}'" for state in LIVE)

generations = sa.Table(
    "generations",
    metadata,
    id_column(primary_key=True),
    id_column("project_id", sa.ForeignKey("projects.id"), nullable=True, index=True),
    # Of a project's live generations, one per slot. What it shows as its own state is that of `main`.
    sa.Column("slot", sa.Text, nullable=False, server_default=MAIN),
    id_column("replaces_id", sa.ForeignKey("generations.id"), nullable=True),  # the failed one
    id_column("user_id", sa.ForeignKey("users.id"), nullable=False),
    id_column("account_id", sa.ForeignKey("accounts.id"), nullable=False),
    sa.Column("operation", sa.Text, nullable=False),
    sa.Column("input", postgresql.JSONB, nullable=False),
    sa.Column("output", postgresql.JSONB(none_as_null=True)),  # data, where the operation gives some
    sa.Column("metadata", postgresql.JSONB, nullable=False, server_default=sa.text("'{}'::jsonb")),
    sa.Column("credits", sa.BigInteger, nullable=False),  # the price, as quoted and debited
    sa.Column("status", sa.Text, nullable=False, server_default="pending"),
    sa.Column("step", sa.Text, nullable=False, server_default="queued"),
    sa.Column("attempt", sa.Integer, nullable=False, server_default="0"),  # tries; 0 before the first
    sa.Column("retries", sa.Integer, nullable=False, server_default="0"),  # tries after a retryable failure
    sa.Column(
        "fence", sa.Integer, nullable=False, server_default="0"
    ),  # +1 at each claim; a stale worker has an old one
    # When it is its turn: lower ones first.
    sa.Column("turn", sa.BigInteger, nullable=False, server_default="0"),
    sa.Column("worker", sa.Text),
    time_column("lease_until", nullable=True),  # set while a worker runs it
    time_column("wake_at", nullable=True),  # set while it waits: for its turn, a ticket or the next try
    time_column("expires_at"),
    sa.Column("provider", sa.Text),
    sa.Column("model", sa.Text),
    sa.Column("error_code", sa.Text),
    sa.Column("error_message", sa.Text),  # for the user
    time_column("created_at", now=True),
    time_column("started_at", nullable=True),
    time_column("finished_at", nullable=True),
    time_column("deleted_at", nullable=True),  # of one without a project
    sa.CheckConstraint(f"status IN ({_live}, {_final})", name="status"),
    sa.CheckConstraint("step IN ('queued', 'generating', 'storing', 'completed')", name="step"),
    sa.CheckConstraint(f"(finished_at IS NOT NULL) = (status IN ({_final}))", name="final_is_finished"),
    sa.CheckConstraint("(error_code IS NOT NULL) = (status IN ('failed', 'canceled'))", name="failed_has_error"),
    sa.CheckConstraint("lease_until IS NULL OR status = 'processing'", name="leased_is_processing"),
    sa.CheckConstraint("credits >= 0", name="credits"),
    # Each look of a worker or sweeper reads the first rows of one of these, however many are live: whose turn it is,
    # what should have been looked at by now (a lease that has run out, a ticket, the next try), what is too old.
    sa.Index("ix_generations_turn", "turn", "id", postgresql_where=sa.text("status = 'pending'")),
    sa.Index(
        "ix_generations_due",
        sa.text("coalesce(lease_until, wake_at)"),
        postgresql_where=sa.text("status = 'processing'"),
    ),
    *(
        sa.Index(f"ix_generations_{state}_until", "expires_at", "id", postgresql_where=sa.text(f"status = '{state}'"))
        for state in LIVE
    ),
    sa.Index("ix_generations_newest", "user_id", sa.text("id DESC NULLS LAST"), postgresql_include=["deleted_at"]),
    sa.Index(
        "uq_generations_one_live_per_slot",
        "project_id",
        "slot",
        unique=True,
        # "Not null" keeps it from being scanned whole for one user's live generations: after a quiet time, Postgres
        # takes each index on live generations for empty, although thousands may be live by now.
        postgresql_where=sa.text(f"project_id IS NOT NULL AND status IN ({_live})"),
    ),
    sa.Index(
        "uq_generations_replaces_id", "replaces_id", unique=True, postgresql_where=sa.text("replaces_id IS NOT NULL")
    ),
    sa.Index(
        "ix_generations_live_of_user", "user_id", "status", "turn", postgresql_where=sa.text(f"status IN ({_live})")
    ),
)

#: Literal, and not bound: the planner uses the partial indexes above only if it sees that the query matches them.
IS_LIVE = generations.c.status.in_([sa.literal_column(f"'{state}'") for state in LIVE])

#: The same for one of the two states.
IS_PENDING, IS_PROCESSING = (generations.c.status == sa.literal_column(f"'{state}'") for state in LIVE)

#: When somebody should look at a generation that is being processed: its lease has run out, or it is to be woken.
DUE_AT = sa.func.coalesce(generations.c.lease_until, generations.c.wake_at)
IS_DUE = sa.and_(IS_PROCESSING, sa.func.now() >= DUE_AT)

#: The kind of outbox row that has a worker ask vendors to stop.
WITHDRAW = "withdraw"

#: The worker's function that removes the media of a deleted project. The version before calls its own `erase_project`,
#: which knows only some of the files: the database writes its calls down as this one.
ERASE_PROJECT = "erase_project_files"

#: The same for a deleted generation that has no project.
ERASE_GENERATION = "erase_generation"

#: What is left of the order of a deleted generation.
ERASED_INPUT = {"prompt": ""}

#: One row per try of a durable step. `intent` is committed before a vendor is called, `ticket` before anything waits.
generation_steps = sa.Table(
    "generation_steps",
    metadata,
    id_column("generation_id", sa.ForeignKey("generations.id"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("attempt", sa.Integer, primary_key=True),  # the step's tries, from 1
    sa.Column("state", sa.Text, nullable=False),
    sa.Column("provider", sa.Text, nullable=False),
    sa.Column("model", sa.Text, nullable=False),
    sa.Column("ticket", sa.Text),
    sa.Column("result", postgresql.JSONB),
    sa.Column("error_code", sa.Text),
    sa.Column("is_final", sa.Boolean, nullable=False, server_default=sa.false()),  # no further try may be made
    sa.Column("operator_message", sa.Text),  # the vendor's own words
    sa.Column("resolution", sa.Text),  # what an administrator found out about a doubt
    time_column("poll_at", nullable=True),  # when the vendor is asked again: for the ticket, or to try once more
    # Each claim that may have stored a file for it: the file's name has the fence.
    sa.Column("fences", postgresql.ARRAY(sa.Integer), nullable=False, server_default=sa.text("'{}'::integer[]")),
    time_column("created_at", now=True),
    time_column("ended_at", nullable=True),
    sa.CheckConstraint(
        "state IN ('intent', 'ticket', 'done', 'failed', 'in_doubt', 'orphaned', 'withdrawn')", name="state"
    ),
    sa.CheckConstraint("state <> 'ticket' OR ticket IS NOT NULL", name="ticket"),
    sa.CheckConstraint("resolution IN ('settled', 'refunded')", name="resolution"),
    sa.Index("ix_generation_steps_open", "generation_id", postgresql_where=sa.text("state IN ('intent', 'ticket')")),
    sa.Index(
        "ix_generation_steps_doubted_ticket",
        "generation_id",
        postgresql_where=sa.text("state = 'in_doubt' AND ticket IS NOT NULL"),
    ),
    sa.CheckConstraint("state <> 'done' OR result IS NOT NULL", name="done_has_result"),
)
