"""⑤ End a generation: final state, result or refund, and what the project shows, in ONE statement.

Worker, cancel, sweeper and administrators all come through here. Each is a conditional UPDATE on which everything else
hangs, so of any number of attempts to end the same generation exactly one does, and only that one stores or refunds.
"""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.assets.tables import assets
from tallyframe.db import Database, with_writes
from tallyframe.errors import FailureCode
from tallyframe.generations.accept.submit import RUN_GENERATION, ExtraWrites, no_writes
from tallyframe.generations.claim import Claim, held, unheld
from tallyframe.generations.states import Status, sources
from tallyframe.generations.tables import WITHDRAW, generation_steps, generations
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.operations.base import Stored
from tallyframe.outbox.rows import complete, enqueue
from tallyframe.projects.tables import changed, projects


async def succeed(db: Database, claim: Claim, outputs: Sequence[Stored]) -> bool:
    """Make the outputs the project's. False: the claim is no longer ours, and nothing was changed."""
    rows = [{"id": new_id(), **asdict(output)} for output in outputs]
    update = sa.update(generations).where(held(claim)).values(**_final(Status.SUCCEEDED))
    settled = update.returning(*_SETTLED).cte("settled")
    latest = {f"{row.pop('role')}_asset_id": row["id"] for row in rows}
    show = _show(settled, {"status": "draft", **latest})
    writes = [*(_output(row, settled) for row in rows), show, complete(RUN_GENERATION, settled)]
    return (await db.run(with_writes(sa.select(settled.c.id), *writes))).one_or_none() is not None


async def fail(db: Database, claim: Claim, code: FailureCode, message: str) -> bool:
    """End the claimed generation as failed and give the credits back. False: the claim is no longer ours."""
    return await _refund(db, held(claim), Status.FAILED, code, message)


async def cancel(db: Database, generation_id: UUID, message: str, also: ExtraWrites = no_writes) -> bool:
    """End the generation as canceled and give the credits back. False: it has already ended.

    `also` hangs on the ended generation's row: id, user_id, project_id.
    """
    live = generations.c.status.in_(sources(Status.CANCELED)) & (generations.c.id == generation_id)
    return await _refund(db, live, Status.CANCELED, FailureCode.CANCELED, message, also)


async def give_up(db: Database, generation_id: UUID, fence: int, message: str, also: ExtraWrites) -> bool:
    """End a generation that waits with a doubt about its latest try as failed, and give the credits back.

    False: it has ended, is being run, or has been since `fence` was read, or there is another try after the one in
    doubt. `also` as with `cancel`.
    """
    live = generations.c.status.in_(sources(Status.FAILED)) & (generations.c.id == generation_id)
    untouched = (generations.c.fence == fence) & unheld()
    which = live & untouched & _latest_is_in_doubt(generation_id)
    return await _refund(db, which, Status.FAILED, FailureCode.PROVIDER_TIMEOUT, message, also)


def _latest_is_in_doubt(generation_id: UUID) -> "sa.ColumnElement[bool]":
    step = generation_steps.c
    tries = sa.select(step.state).where(step.generation_id == generation_id)
    latest = tries.order_by(step.attempt.desc()).limit(1)
    return latest.scalar_subquery() == "in_doubt"


async def expire(db: Database, generation_id: UUID, message: str) -> bool:
    """End a generation that is past its maximum age as failed and give the credits back."""
    live = generations.c.status.in_(sources(Status.FAILED)) & (generations.c.id == generation_id)
    return await _refund(
        db, live & (generations.c.expires_at <= sa.func.now()), Status.FAILED, FailureCode.EXPIRED, message
    )


async def _refund(
    db: Database,
    which: "sa.ColumnElement[bool]",
    status: Status,
    code: FailureCode,
    message: str,
    also: ExtraWrites = no_writes,
) -> bool:
    error = {"error_code": code.value, "error_message": message}
    update = sa.update(generations).where(which).values(**_final(status), **error)
    settled = update.returning(*_SETTLED).cte("settled")
    has_media = projects.c.image_asset_id.is_not(None) | projects.c.video_asset_id.is_not(None)
    show = _show(settled, {"status": sa.case((has_media, "draft"), else_=status.value)})
    calls = [complete(RUN_GENERATION, settled), enqueue(WITHDRAW, with_open_ticket(settled))]
    writes = [entries.refund(settled, reason=code.value), show, *calls, *also(settled)]
    return (await db.run(with_writes(sa.select(settled.c.id), *writes))).one_or_none() is not None


def with_open_ticket(settled: sa.CTE) -> sa.Subquery:
    """Return those of the ended generations for which a vendor may still be at work.

    Also those whose ticket is being written at this very moment, which this statement can't see.
    """
    step = generation_steps.c
    has_ticket = step.state.in_(("ticket", "in_doubt")) & step.ticket.is_not(None)
    open_ticket = sa.exists().where(step.generation_id == settled.c.id, has_ticket | (step.state == "intent"))
    return sa.select(settled.c.id).where(open_ticket).subquery()


_SETTLED = [generations.c[name] for name in ("id", "user_id", "project_id")]


def _final(status: Status) -> dict[str, Any]:
    values = {"status": status.value, "finished_at": sa.func.clock_timestamp(), "lease_until": None, "wake_at": None}
    return {**values, "step": "completed"} if status is Status.SUCCEEDED else values


def _show(settled: sa.CTE, values: dict[str, Any]) -> sa.Update:
    # By id and not by generation, so that it can't miss; a project has only one live generation at a time.
    mine = projects.c.id == sa.select(settled.c.project_id).scalar_subquery()
    return sa.update(projects).where(mine).values(**values, **changed())


def _output(row: dict[str, Any], settled: sa.CTE) -> sa.Insert:
    literals = [sa.literal(value, assets.c[name].type) for name, value in row.items()]
    owner = [settled.c.user_id, settled.c.project_id, settled.c.id]
    columns = [*row, "user_id", "project_id", "generation_id"]
    return sa.insert(assets).from_select(columns, sa.select(*literals, *owner).select_from(settled))
