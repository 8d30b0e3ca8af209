"""④ Who runs a generation: claimed by a conditional UPDATE, kept by a heartbeat, given back to wait or to retry."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.dml import UpdateBase

from tallyframe.db import AnyRow, Database, Statement, with_writes
from tallyframe.generations.claim import HELD, Claim, ExtraWrites, bump_project, unheld
from tallyframe.generations.states import LIVE, Status
from tallyframe.generations.steps.rows import keep_verdicts
from tallyframe.generations.steps.values import Verdict
from tallyframe.generations.tables import DUE_AT, IS_DUE, IS_LIVE, IS_PENDING, generation_steps, generations
from tallyframe.outbox.rows import complete, enqueue
from tallyframe.outbox.tables import RUN_GENERATION
from tallyframe.projects.tables import changed, projects

#: The columns by which other writes of a statement find a claim's row.
_KEYS = (generations.c.id, generations.c.project_id)

_COLUMNS = [generations.c[name] for name in Claim.__dataclass_fields__]


class Pick(StrEnum):
    """Which of those that are ready is taken first. If there is none of that kind, one of the other is taken."""

    NEW = "new"  # whose first turn it is
    AGAIN = "again"  # whose next turn it is, of those due again: they wait for a vendor, or to be tried again
    OLDEST = "oldest"  # which has the least time left, of either kind


def _is_ready() -> "sa.ColumnElement[bool]":
    row = generations.c
    due = sa.and_(row.lease_until.is_(None), row.wake_at <= sa.func.now())
    return sa.or_(row.status == Status.PENDING, sa.and_(row.status == Status.PROCESSING, sa.or_(_IS_LOST, due)))


#: How many are compared: of those that have not begun, as many as others may claim at the same instant; of those due
#: again for longest, enough for turns to count among them.
_NEW, _AGAIN = 64, 256

_IS_LOST = sa.and_(generations.c.lease_until.is_not(None), generations.c.lease_until < sa.func.now())


def _next(pick: Pick) -> "sa.Select[Any]":
    """Return the query for the first that is ready, of anybody but the users in `full`; two who ask at once get two.

    It compares the first of those that have not begun with those that are due again for longest: as fast with a hundred
    thousand that wait as with ten. Whoever of them is due since later has its turn a little later.
    """
    row = generations.c
    order = [row.expires_at] if pick is Pick.OLDEST else [row.turn, row.id]
    kinds = {Pick.NEW: (0, 1), Pick.AGAIN: (1, 0), Pick.OLDEST: (0, 0)}[pick]
    new = _first(IS_PENDING, *order, most=_NEW, kind=kinds[0])
    again = _first(IS_DUE, DUE_AT, most=_AGAIN, kind=kinds[1])
    both = sa.union_all(sa.select(new.subquery("new")), sa.select(again.subquery("again"))).subquery("both")
    places = [both.c.kind, *(both.c[column.name] for column in order)]
    near = sa.select(both).order_by(*places).limit(_NEW).subquery("near")
    ready = sa.select(row.id, row.status).join(near, near.c.id == row.id).where(_is_ready())
    ready = ready.order_by(near.c.kind, *(near.c[column.name] for column in order)).limit(1)
    return ready.with_for_update(of=generations, skip_locked=True, key_share=True)


def _first(state: "sa.ColumnElement[bool]", *order: "sa.ColumnElement[Any]", most: int, kind: int) -> "sa.Select[Any]":
    full = sa.bindparam("full", type_=postgresql.ARRAY(sa.Uuid()))
    row = generations.c
    columns = row.id, row.turn, row.expires_at, sa.literal_column(str(kind), sa.Integer()).label("kind")
    return sa.select(*columns).where(state, sa.not_(row.user_id == sa.any_(full))).order_by(*order).limit(most)


def _in(name: str) -> "sa.ColumnElement[Any]":
    return sa.func.now() + sa.bindparam(name, type_=sa.Interval())


def _claim(which: "sa.Select[Any]", *, in_turn: bool = False) -> sa.Select[Any]:
    """Return the statement that takes what `which` finds; `in_turn`: newcomers come after its turn, if it had one."""
    row = generations.c
    values = {
        "status": Status.PROCESSING.value,
        "step": sa.case((row.step == "queued", "generating"), else_=row.step),
        "fence": row.fence + 1,
        # Waking up is not another try; taking over from a lost worker is.
        "attempt": sa.case((sa.or_(row.status == Status.PENDING, _IS_LOST), row.attempt + 1), else_=row.attempt),
        "worker": sa.bindparam("by", type_=sa.Text()),
        "lease_until": _in("lease"),
        "wake_at": None,
        "started_at": sa.func.coalesce(row.started_at, sa.func.now()),
    }
    chosen = which.cte("chosen")
    update = sa.update(generations).where(row.id == chosen.c.id).values(**values)
    claimed = update.returning(*_COLUMNS, row.project_id, row.turn).cte("claimed")
    # By the project's id, the only one that has an index; and only if this is the generation that it shows.
    its_project = projects.c.id == sa.select(claimed.c.project_id).scalar_subquery()
    shown = projects.c.generation_id == sa.select(claimed.c.id).scalar_subquery()
    waiting = sa.and_(its_project, shown, projects.c.status == "pending")
    show = sa.update(projects).where(waiting).values(status="processing", **changed())
    taken = sa.select(*(claimed.c[column.name] for column in _COLUMNS))
    return with_writes(
        taken.where(_serve(chosen, claimed.c.turn)) if in_turn else taken, show, complete(RUN_GENERATION, claimed)
    )


def _serve(chosen: sa.CTE, turn: "sa.ColumnElement[int]") -> "sa.ColumnElement[bool]":
    """Write down that this turn is served, which no one before it undoes. It is a condition that is always met.

    What is due again takes no turn from those who wait for their first.
    """
    last = sa.select(sa.literal_column("last_value", sa.BigInteger())).select_from(sa.table("turn_served"))
    is_new = sa.select(chosen.c.status).scalar_subquery() == Status.PENDING
    served = sa.func.setval("turn_served", sa.func.greatest(turn, last.scalar_subquery())) >= 0
    return sa.case((is_new, served), else_=sa.true())


def _leave(*, counts: bool) -> sa.Select[Any]:
    row, others = generations.c, generations.alias("others").c
    again = {"attempt": row.attempt + 1, "retries": row.retries + 1} if counts else {}
    # Behind its user's others, so that it doesn't delay new ones.
    last = sa.select(sa.func.max(others.turn)).where(others.user_id == row.user_id).correlate(generations)
    states = (others.status == sa.literal_column(f"'{state}'") for state in LIVE)
    turn = sa.func.greatest(*(last.where(state).scalar_subquery() for state in states)) + 1
    values = {"lease_until": None, "wake_at": _in("wait"), "turn": turn, **again}
    waiting = sa.update(generations).where(HELD).values(**values).returning(*_KEYS, row.wake_at).cte("waiting")
    writes: list[UpdateBase] = [enqueue(RUN_GENERATION, waiting, waiting.c.wake_at), keep_verdicts(waiting)]
    return with_writes(sa.select(waiting.c.id), *writes, *([bump_project(waiting)] if counts else []))


# Put together once: building SQL costs more than running it.
_NEXT = {pick: Statement(f"claim_{pick}", _claim(_next(pick), in_turn=pick is not Pick.OLDEST), Claim) for pick in Pick}
_THIS_ONE = Statement(
    "claim",
    _claim(
        sa.select(generations.c.id)
        .where(generations.c.id == sa.bindparam("this", type_=sa.Uuid()), _is_ready())
        .with_for_update(key_share=True)
    ),
    Claim,
)
_RENEW = Statement[AnyRow](
    "renew", sa.update(generations).where(HELD).values(lease_until=_in("lease")).returning(generations.c.id), dict
)
_LEAVE = {counts: Statement[AnyRow]("leave", _leave(counts=counts), dict) for counts in (False, True)}


@dataclass(frozen=True, slots=True)
class Holder:
    """Who takes generations, and for how long at a time."""

    worker: str
    lease_seconds: float


async def claim_next(db: Database, holder: Holder, full: Sequence[UUID], pick: Pick) -> Claim | None:
    """Take a ready generation of anybody but the users in `full`; None: there is none."""
    lease = timedelta(seconds=holder.lease_seconds)
    return await db.find(_NEXT[pick], full=list(full), by=holder.worker, lease=lease)


async def claim(db: Database, holder: Holder, generation_id: UUID) -> Claim | None:
    """Take that very generation if it is waiting, due, or its lease has run out; None where it isn't."""
    lease = timedelta(seconds=holder.lease_seconds)
    return await db.find(_THIS_ONE, this=generation_id, by=holder.worker, lease=lease)


async def renew(db: Database, claim: Claim, *, lease_seconds: float) -> bool:
    """Renew the lease; False when the claim is no longer ours."""
    lease = timedelta(seconds=lease_seconds)
    return bool(await db.call(_RENEW, claim_id=claim.id, claim_fence=claim.fence, lease=lease))


async def leave(db: Database, claim: Claim, *, seconds: float, counts: bool, verdicts: Sequence[Verdict] = ()) -> bool:
    """Give the generation back, to be woken in `seconds`, and keep the verdicts of its steps in the same statement.

    `counts`: this is another attempt, which its receipt shows; waiting for a ticket is none. False when the claim is no
    longer ours: then nothing was written.
    """
    wait, kept = timedelta(seconds=seconds), [asdict(verdict) for verdict in verdicts]
    held = {"claim_id": claim.id, "claim_fence": claim.fence}
    return bool(await db.call(_LEAVE[counts], **held, wait=wait, verdicts=kept))


async def wake(db: Database, generation_id: UUID, also: ExtraWrites) -> bool:
    """Wake up a generation that waits. False: it is being run, or has ended.

    `also` makes further writes from the generation's row. No try is counted, and no credits move.
    """
    row = generations.c
    asleep = sa.and_(row.status == Status.PROCESSING, row.lease_until.is_(None))
    at = sa.case((asleep | row.wake_at.is_not(None), sa.func.now()))
    update = sa.update(generations).where(row.id == generation_id, IS_LIVE, unheld()).values(wake_at=at)
    woken = update.returning(row.id, row.user_id).cte("woken")
    # A generation that is woken up asks vendors at once, whatever time its steps would wait for.
    mine = generation_steps.c.generation_id == sa.select(woken.c.id).scalar_subquery()
    ask = sa.update(generation_steps).where(mine, generation_steps.c.poll_at.is_not(None)).values(poll_at=None)
    writes = [enqueue(RUN_GENERATION, woken), ask, *also(woken)]
    return (await db.run(with_writes(sa.select(woken.c.id), *writes))).one_or_none() is not None
