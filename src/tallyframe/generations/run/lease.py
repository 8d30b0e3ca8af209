"""④ Who runs a generation: claimed by a conditional UPDATE, kept by a heartbeat, given back to wait or to retry."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.dml import ReturningUpdate, UpdateBase

from tallyframe.db import Database, with_writes
from tallyframe.generations.claim import Claim, ExtraWrites, bump_project, held, unheld
from tallyframe.generations.states import LIVE, Status
from tallyframe.generations.steps.decide import Verdict
from tallyframe.generations.steps.rows import verdict_writes
from tallyframe.generations.tables import IS_LIVE, generation_steps, generations
from tallyframe.outbox.rows import complete, enqueue
from tallyframe.outbox.tables import RUN_GENERATION
from tallyframe.projects.tables import changed, projects

#: What a claim's row, and what hangs on it, is known by.
_KEYS = (generations.c.id, generations.c.project_id)

_COLUMNS = [generations.c[name] for name in Claim.__dataclass_fields__]


def next_in_turn(full: Sequence[UUID] = (), *, oldest: bool = False) -> "sa.Select[UUID]":
    """Return the query for the ready generation whose turn it is, or the oldest, of anybody but the users in `full`.

    Two who ask at once get two different ones.
    """
    row = generations.c
    others = sa.not_(row.user_id == sa.any_(sa.literal(list(full), postgresql.ARRAY(sa.Uuid()))))
    # By time and not by id: the order of ids would lure the planner into the primary key, through all that has ended.
    order = (row.created_at,) if oldest else (row.turn, row.id)
    ready = sa.select(row.id).where(IS_LIVE, _is_ready(), others).order_by(*order)
    return ready.limit(1).with_for_update(skip_locked=True, key_share=True)


def this_one(generation_id: UUID) -> "sa.Select[UUID]":
    """Return the query for that very generation, if it is ready."""
    ready = sa.select(generations.c.id).where(generations.c.id == generation_id, _is_ready())
    return ready.with_for_update(key_share=True)


def _is_ready() -> "sa.ColumnElement[bool]":
    row = generations.c
    due = sa.and_(row.lease_until.is_(None), row.wake_at <= sa.func.now())
    return sa.or_(row.status == Status.PENDING, sa.and_(row.status == Status.PROCESSING, sa.or_(_is_lost(), due)))


def _is_lost() -> "sa.ColumnElement[bool]":
    return sa.and_(generations.c.lease_until.is_not(None), generations.c.lease_until < sa.func.now())


async def claim(db: Database, which: "sa.Select[UUID]", *, worker: str, lease_seconds: float) -> Claim | None:
    """Take a generation that is waiting, due, or whose lease has run out; None when there is nothing to take."""
    claimed = _claim(which, worker, lease_seconds).cte("claimed")
    # By the project's id, the only one that has an index; and only if this is the generation that it shows.
    its_project = projects.c.id == sa.select(claimed.c.project_id).scalar_subquery()
    shown = projects.c.generation_id == sa.select(claimed.c.id).scalar_subquery()
    waiting = sa.and_(its_project, shown, projects.c.status == "pending")
    show = sa.update(projects).where(waiting).values(status="processing", **changed())
    result = sa.select(*(claimed.c[column.name] for column in _COLUMNS))
    row = (await db.run(with_writes(result, show, complete(RUN_GENERATION, claimed)))).one_or_none()
    return Claim(*row) if row else None


def _claim(which: "sa.Select[UUID]", worker: str, lease_seconds: float) -> "ReturningUpdate[*tuple[Any, ...]]":
    row = generations.c
    values = {
        "status": Status.PROCESSING.value,
        "step": sa.case((row.step == "queued", "generating"), else_=row.step),
        "fence": row.fence + 1,
        # Waking up is not another try; taking over from a lost worker is.
        "attempt": sa.case((sa.or_(row.status == Status.PENDING, _is_lost()), row.attempt + 1), else_=row.attempt),
        "worker": worker,
        "lease_until": _in(lease_seconds),
        "wake_at": None,
        "started_at": sa.func.coalesce(row.started_at, sa.func.now()),
    }
    chosen = which.cte("chosen")
    return sa.update(generations).where(row.id == chosen.c.id).values(**values).returning(*_COLUMNS, row.project_id)


async def renew(db: Database, claim: Claim, *, lease_seconds: float) -> bool:
    """Push the lease on; False when the claim is no longer ours."""
    update = sa.update(generations).where(held(claim)).values(lease_until=_in(lease_seconds))
    return (await db.run(update.returning(generations.c.id))).one_or_none() is not None


async def leave(db: Database, claim: Claim, *, seconds: float, counts: bool, verdicts: Sequence[Verdict] = ()) -> bool:
    """Give the generation back, to be woken in `seconds`, and keep the verdicts of its steps in the same statement.

    `counts`: this is another attempt, which its receipt shows; waiting for a ticket is none. False when the claim is no
    longer ours: then nothing was written.
    """
    row = generations.c
    again = {"attempt": row.attempt + 1, "retries": row.retries + 1} if counts else {}
    values = {"lease_until": None, "wake_at": _in(seconds), "turn": _after_ones_own(), **again}
    update = sa.update(generations).where(held(claim)).values(**values)
    waiting = update.returning(*_KEYS, row.wake_at).cte("waiting")
    writes: list[UpdateBase] = [enqueue(RUN_GENERATION, waiting, waiting.c.wake_at)]
    writes += [*verdict_writes(verdicts, waiting), *([bump_project(waiting)] if counts else [])]
    return (await db.run(with_writes(sa.select(waiting.c.id), *writes))).one_or_none() is not None


async def wake(db: Database, generation_id: UUID, also: ExtraWrites) -> bool:
    """Have a generation that waits looked at now. False: it is being run, or has ended.

    `also` hangs on the generation's row. Nothing else of it changes: no try is counted, and no money moves.
    """
    row = generations.c
    asleep = sa.and_(row.status == Status.PROCESSING, row.lease_until.is_(None))
    at = sa.case((asleep | row.wake_at.is_not(None), sa.func.now()))
    update = sa.update(generations).where(row.id == generation_id, IS_LIVE, unheld()).values(wake_at=at)
    woken = update.returning(row.id, row.user_id).cte("woken")
    # Who is woken asks at once, whatever its steps wait for.
    mine = generation_steps.c.generation_id == sa.select(woken.c.id).scalar_subquery()
    ask = sa.update(generation_steps).where(mine, generation_steps.c.poll_at.is_not(None)).values(poll_at=None)
    writes = [enqueue(RUN_GENERATION, woken), ask, *also(woken)]
    return (await db.run(with_writes(sa.select(woken.c.id), *writes))).one_or_none() is not None


def _after_ones_own() -> "sa.ScalarSelect[int]":
    """Return the turn of who has had one: behind the user's others, or those that wait would keep new ones waiting."""
    others = generations.alias("others")
    live = others.c.status.in_([sa.literal_column(f"'{state}'") for state in LIVE])
    last = sa.select(sa.func.max(others.c.turn) + 1).where(others.c.user_id == generations.c.user_id, live)
    return last.correlate(generations).scalar_subquery()


def _in(seconds: float) -> "sa.ColumnElement[Any]":
    return sa.func.now() + sa.literal(timedelta(seconds=seconds), sa.Interval())
