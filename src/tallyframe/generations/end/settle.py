"""⑤ End a generation: final state, result or refund, and what the project shows, in ONE statement.

Worker, cancel, sweeper and administrators all end generations here. Each end is a conditional UPDATE, and all other
writes take their rows from it. So of any number of attempts to end the same generation exactly one succeeds, and only
that one stores or refunds.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any
from uuid import UUID

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.assets.tables import assets
from tallyframe.db import AnyRow, Database, Statement, insert_per_row, with_writes
from tallyframe.errors import FailureCode
from tallyframe.generations.claim import HELD, Claim, ExtraWrites, no_writes, unheld
from tallyframe.generations.states import Status, sources
from tallyframe.generations.steps.rows import VERDICTS, keep_verdicts
from tallyframe.generations.steps.values import Verdict
from tallyframe.generations.tables import WITHDRAW, generation_steps, generations
from tallyframe.ids import new_id
from tallyframe.ledger import entries
from tallyframe.operations.base import MAIN, Result, Stored
from tallyframe.outbox.rows import complete, enqueue
from tallyframe.outbox.tables import RUN_GENERATION
from tallyframe.projects import media
from tallyframe.projects.tables import changed, has_media, projects


async def succeed(db: Database, claim: Claim, result: Result) -> bool:
    """Keep the result, and show its files in the project, if there is one. False: the claim is no longer ours."""
    made = [
        {"id": str(new_id()), "role": each.role, "position": each.position, **asdict(each.stored)}
        for each in result.outputs
    ]
    output = None if result.data is None else dict(result.data)
    return bool(await db.call(_SUCCEED, claim_id=claim.id, claim_fence=claim.fence, made=made, output=output))


async def fail(db: Database, claim: Claim, code: FailureCode, message: str, verdicts: Sequence[Verdict] = ()) -> bool:
    """End the claimed generation as failed and give the credits back; keep the verdicts of its steps.

    The provider of the last verdict is the one that its receipt names. False: the claim is no longer ours.
    """
    last = verdicts[-1] if verdicts else None
    parameters: dict[str, Any] = {"claim_id": claim.id, "claim_fence": claim.fence, "entry_id": new_id()}
    parameters |= {"code": code.value, "words": message, "verdicts": [asdict(verdict) for verdict in verdicts]}
    parameters |= {"by_provider": last and last.provider, "by_model": last and last.model}
    return bool(await db.call(_FAIL, **parameters))


async def cancel(db: Database, generation_id: UUID, message: str, also: ExtraWrites = no_writes) -> bool:
    """End the generation as canceled and give the credits back. False: it has already ended.

    `also` makes further writes from the ended generation's row: id, user_id, project_id.
    """
    live = generations.c.status.in_(sources(Status.CANCELED)) & (generations.c.id == generation_id)
    return await _refund(db, live, Status.CANCELED, (FailureCode.CANCELED, message), also)


async def give_up(db: Database, generation_id: UUID, fence: int, message: str, also: ExtraWrites) -> bool:
    """End a generation that waits with a doubt about its latest try as failed, and give the credits back.

    False: it has ended, is being run, or has been since `fence` was read, or the latest try of no step is in doubt.
    `also` as with `cancel`.
    """
    live = generations.c.status.in_(sources(Status.FAILED)) & (generations.c.id == generation_id)
    untouched = (generations.c.fence == fence) & unheld()
    which = live & untouched & _latest_is_in_doubt(generation_id)
    return await _refund(db, which, Status.FAILED, (FailureCode.PROVIDER_TIMEOUT, message), also)


def _latest_is_in_doubt(generation_id: UUID) -> "sa.ColumnElement[bool]":
    step, later = generation_steps.c, generation_steps.alias("later").c
    newer = (later.generation_id == step.generation_id) & (later.name == step.name) & (later.attempt > step.attempt)
    doubtful = (step.generation_id == generation_id) & (step.state == "in_doubt")
    return sa.exists().where(doubtful, ~sa.exists().where(newer))


async def expire(db: Database, generation_id: UUID, message: str) -> bool:
    """End a generation that is past its maximum age as failed and give the credits back."""
    live = generations.c.status.in_(sources(Status.FAILED)) & (generations.c.id == generation_id)
    is_old = generations.c.expires_at <= sa.func.now()
    return await _refund(db, live & is_old, Status.FAILED, (FailureCode.EXPIRED, message), no_writes)


async def _refund(
    db: Database, which: "sa.ColumnElement[bool]", status: Status, error: tuple[FailureCode, str], also: ExtraWrites
) -> bool:
    statement = _refunding(which, status, also, with_open_ticket)
    parameters = {"code": error[0].value, "words": error[1], "entry_id": new_id()}
    return (await db.run(statement, parameters)).one_or_none() is not None


def _refunding(
    which: "sa.ColumnElement[bool]",
    status: Status,
    also: ExtraWrites,
    open_ticket: Callable[[sa.CTE], sa.Subquery],
    **values: "sa.ColumnElement[Any]",
) -> sa.Select[Any]:
    """Return the statement that ends the generation as failed or canceled, for `code`, `words` and `entry_id`."""
    code, words = (sa.bindparam(name, type_=sa.Text()) for name in ("code", "words"))
    update = (
        sa.update(generations).where(which).values(**_final(status), error_code=code, error_message=words, **values)
    )
    settled = update.returning(*_SETTLED).cte("settled")
    calls = [complete(RUN_GENERATION, settled), enqueue(WITHDRAW, open_ticket(settled))]
    show = _show(settled, sa.case((has_media(), "draft"), else_=status.value))
    refund = entries.refund(settled, entry_id=sa.bindparam("entry_id", type_=sa.Uuid()), reason=code)
    writes = [refund, show, *calls, *also(settled)]
    return with_writes(sa.select(settled.c.id), *writes)


_HAS_TICKET = generation_steps.c.state.in_(("ticket", "in_doubt")) & generation_steps.c.ticket.is_not(None)
_IS_SILENT = generation_steps.c.state == "intent"  # its ticket may be being written at this very moment


def with_open_ticket(settled: sa.CTE) -> sa.Subquery:
    """Return those of the ended generations for which a vendor may still be at work.

    Also those whose ticket is being written at this very moment, which this statement can't see.
    """
    is_open = sa.exists().where(generation_steps.c.generation_id == settled.c.id, _HAS_TICKET | _IS_SILENT)
    return sa.select(settled.c.id).where(is_open).subquery()


def _with_open_ticket_still(settled: sa.CTE) -> sa.Subquery:
    """Return the same, where the statement keeps VERDICTS, which it doesn't see: a try that has failed is over."""
    this = sa.tuple_(generation_steps.c.name, generation_steps.c.attempt)
    decided = sa.select(VERDICTS.c.name, VERDICTS.c.attempt)
    failed = decided.where(VERDICTS.c.state == "failed")
    open_now = (_HAS_TICKET & this.not_in(failed)) | (_IS_SILENT & this.not_in(decided))
    is_open = sa.exists().where(generation_steps.c.generation_id == settled.c.id, open_now)
    return sa.select(settled.c.id).where(is_open).subquery()


_SETTLED = [generations.c[name] for name in ("id", "user_id", "project_id", "slot")]


def _final(status: Status) -> dict[str, Any]:
    return {"status": status.value, "finished_at": sa.func.clock_timestamp(), "lease_until": None, "wake_at": None}


def _show(settled: sa.CTE, status: "sa.ColumnElement[str]") -> sa.Update:
    """Return the update of the project, if there is one: its status is that of its main slot."""
    mine = projects.c.id == sa.select(settled.c.project_id).scalar_subquery()
    in_main = sa.select(settled.c.slot).scalar_subquery() == MAIN
    new = sa.case((in_main, status), else_=projects.c.status)
    return sa.update(projects).where(mine).values(status=new, **changed())


#: What has been made: a list of files in JSON, with their columns as far as they are known before they are inserted.
_MADE = (
    sa.func.jsonb_to_recordset(sa.bindparam("made", type_=postgresql.JSONB()))
    .table_valued(
        *(sa.column(name, assets.c[name].type) for name in ("id", "role", "position", *Stored.__dataclass_fields__)),
        name="given",
    )
    .render_derived(with_types=True)
)


def _succeeding() -> sa.Select[Any]:
    output = sa.bindparam("output", type_=generations.c.output.type)
    update = sa.update(generations).where(HELD).values(**_final(Status.SUCCEEDED), step="completed", output=output)
    settled = update.returning(*_SETTLED).cte("settled")
    made = sa.select(_MADE).cte("made")
    both, owner = settled.join(made, sa.true()), {name: settled.c[name] for name in ("user_id", "project_id")}
    columns = {column.name: column for column in made.c}
    keep = insert_per_row(assets, both, **columns, **owner, generation_id=settled.c.id)
    status = sa.case((sa.exists().select_from(made), "draft"), else_=projects.c.status)
    writes = (complete(RUN_GENERATION, settled), keep, media.show(settled, made), _show(settled, status))
    return with_writes(sa.select(settled.c.id), *writes)


# Put together once: building SQL costs more than running it.
_SUCCEED = Statement[AnyRow]("succeed", _succeeding(), dict)
_BLAMED = {
    name: sa.func.coalesce(sa.bindparam(f"by_{name}", type_=sa.Text()), generations.c[name])
    for name in ("provider", "model")
}
_FAIL = Statement[AnyRow](
    "fail",
    _refunding(HELD, Status.FAILED, lambda settled: [keep_verdicts(settled)], _with_open_ticket_still, **_BLAMED),
    dict,
)
