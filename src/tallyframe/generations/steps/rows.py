"""The rows of steps: intent, ticket, done, failed, in doubt, orphaned. Every write asks for the claim's fence.

`intent` is committed before the vendor is called and `ticket` before anything waits. So whatever dies in between, the
next run knows whether to collect, to book a doubt, or to order.
"""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any

import sqlalchemy as sa
import structlog
from sqlalchemy.dialects.postgresql import JSONB

from tallyframe.db import AnyRow, Database, Statement, insert_per_row, retry_while_unavailable, with_writes
from tallyframe.errors import GenerationError, ProviderError, Unavailable
from tallyframe.generations.claim import HELD, Claim, ClaimLost, bump_project
from tallyframe.generations.steps.values import Asked, Try, Verdict
from tallyframe.generations.tables import ERASE_GENERATION, ERASE_PROJECT, WITHDRAW, generation_steps, generations
from tallyframe.outbox.rows import enqueue
from tallyframe.projects.tables import projects

log = structlog.get_logger()

_step = generation_steps.c

#: Seconds before its time at which a vendor is asked all the same: several steps that are due together are one wake-up.
TOGETHER = 0.25

#: Verdicts, as one JSON list in the parameter `verdicts`: so however many there are, the statement is the same.
VERDICTS = (
    sa.func.jsonb_to_recordset(sa.bindparam("verdicts", type_=JSONB))
    .table_valued(
        *(sa.column(name, _step[name].type) for name in ("name", "attempt", "provider", "model", "state", "ticket")),
        *(sa.column(name, _step[name].type) for name in ("error_code", "is_final", "operator_message")),
        sa.column("poll_after", sa.Float()),
        name="verdicts",
    )
    .render_derived(with_types=True)
)


def keep_verdicts(generation: sa.FromClause) -> sa.Insert:
    """Return the write of VERDICTS, if the row of their generation (`id`) is there: with a move, in one statement."""
    said, now = VERDICTS.c, sa.func.now()
    insert = insert_per_row(
        generation_steps,
        generation.join(VERDICTS, sa.true()),
        generation_id=generation.c.id,
        **{name: said[name] for name in ("name", "attempt", "provider", "model", "ticket", "error_code", "is_final")},
        operator_message=sa.func.nullif(said.operator_message, ""),
        state=sa.func.coalesce(said.state, "intent"),
        ended_at=sa.case((said.state.in_(("failed", "in_doubt")), now)),
        poll_at=now + said.poll_after * sa.literal(timedelta(seconds=1), sa.Interval()),
    )
    new = insert.excluded
    changes = {
        "state": sa.case((new.state == "intent", _step.state), else_=new.state),
        **{name: sa.func.coalesce(new[name], _step[name]) for name in ("ticket", "poll_at")},
    }
    for name in ("error_code", "is_final", "operator_message", "ended_at"):
        changes[name] = sa.case((new.ended_at.is_not(None), new[name]), else_=_step[name])
    # A worker that had lost its claim may have stored the result meanwhile: nothing is said over that.
    still_open = _step.state.not_in(("done", "orphaned", "withdrawn"))
    return insert.on_conflict_do_update(
        index_elements=["generation_id", "name", "attempt"], set_=changes, where=still_open
    )


def _intention() -> sa.Select[Any]:
    provider, model, name = (sa.bindparam(f"asked_{each}", type_=sa.Text()) for each in ("provider", "model", "name"))
    update = sa.update(generations).where(HELD).values(provider=provider, model=model)
    shown = update.returning(generations.c.id, generations.c.project_id).cte("shown")
    attempt = sa.bindparam("asked_attempt", type_=sa.Integer())
    row = {"name": name, "attempt": attempt, "state": "intent", "provider": provider, "model": model}
    insert = insert_per_row(generation_steps, shown, generation_id=shown.c.id, **row)
    # Run twice, because its answer got lost, it finds its own row: nobody else can have written this try for our claim.
    again = insert.on_conflict_do_update(
        index_elements=["generation_id", "name", "attempt"], set_={"provider": provider}, where=_step.state == "intent"
    )
    written = again.returning(_step.generation_id).cte("written")
    return with_writes(sa.select(written.c.generation_id), bump_project(shown))


# Put together once: building SQL costs more than running it.
_INTEND = Statement[AnyRow]("intend", _intention(), dict)
_MINE = sa.select(generations.c.id).where(HELD).with_for_update(key_share=True).cte("mine")
_KEEP = Statement[AnyRow]("keep_verdicts", with_writes(sa.select(_MINE.c.id), keep_verdicts(_MINE)), dict)

_THIS_TRY = sa.and_(
    _step.generation_id == sa.bindparam("claim_id", type_=sa.Uuid()),
    _step.name == sa.bindparam("of_step", type_=sa.Text()),
    _step.attempt == sa.bindparam("of_attempt", type_=sa.Integer()),
)


def _storing() -> sa.Select[Any]:
    update = sa.update(generations).where(HELD).values(step="storing")
    stepped = update.returning(generations.c.id, generations.c.project_id).cte("stepped")
    fences = sa.func.array_append(_step.fences, sa.bindparam("claim_fence", type_=sa.Integer()))
    this = sa.and_(_THIS_TRY, sa.exists().where(stepped.c.id == _step.generation_id))
    return with_writes(
        sa.select(stepped.c.id), sa.update(generation_steps).where(this).values(fences=fences), bump_project(stepped)
    )


_STORING = Statement[AnyRow]("show_storing", _storing(), dict)
_FINISH = Statement[AnyRow](
    "finish_step",
    sa.update(generation_steps)
    .where(_THIS_TRY, sa.exists().where(HELD))
    .values(state="done", result=sa.bindparam("made", type_=JSONB), ended_at=sa.func.now())
    .returning(_step.generation_id),
    dict,
)
_rests = sa.func.date_part("epoch", _step.poll_at - sa.func.clock_timestamp(), type_=sa.Float()) - TOGETHER
_TRIES = Statement[AnyRow](
    "tries",
    sa.select(
        _step.name,
        *(_step[name] for name in Try.__dataclass_fields__ if name != "rests"),
        sa.func.coalesce(_rests, 0).label("rests"),
    )
    .where(_step.generation_id == sa.bindparam("of", type_=sa.Uuid()))
    .order_by(_step.attempt),
    dict,
)


@dataclass(frozen=True, slots=True)
class StepRows:
    """The rows of the steps of one claimed generation."""

    db: Database
    claim: Claim

    async def tries(self) -> dict[str, list[Try]]:
        """Return all tries of all steps, oldest first, by the steps' names."""
        found: dict[str, list[Try]] = {}
        for row in await self.db.call(_TRIES, of=self.claim.id):
            found.setdefault(row.pop("name"), []).append(Try(**row))
        return found

    async def intend(self, asked: Asked) -> None:
        """Commit that the vendor is about to be called; also show which one. Raises ClaimLost."""
        provider, model = asked.route.provider.name, asked.route.offer.model
        asks = {"asked_provider": provider, "asked_model": model, "asked_name": asked.name}
        await self._write(_INTEND, asks | {"asked_attempt": asked.attempt})

    async def keep(self, verdict: Verdict) -> None:
        """Commit a verdict by itself, while other steps of the run are still under way. Raises ClaimLost.

        A ticket is kept even if the claim is lost: who has taken over may collect it, or the vendor will be told.
        """
        try:
            await retry_while_unavailable(lambda: self._write(_KEEP, {"verdicts": [asdict(verdict)]}))
        except ClaimLost:
            await self.keep_late(verdict)
            raise
        except (Unavailable, asyncio.CancelledError):
            self.log_lost([verdict])
            raise

    def log_lost(self, verdicts: Sequence[Verdict]) -> None:
        """Log the tickets that could not be kept: all that can still be done for them."""
        for verdict in verdicts:
            if verdict.ticket:
                about = {"step": verdict.name, "attempt": verdict.attempt, "ticket": verdict.ticket}
                log.error("ticket_lost", generation_id=str(self.claim.id), **about)

    async def keep_late(self, verdict: Verdict) -> None:
        """Keep the ticket of a verdict, if it has one, although the claim is lost."""
        if verdict.ticket:
            await self.keep_late_ticket(verdict.name, verdict.attempt, verdict.ticket)

    async def keep_late_ticket(self, name: str, attempt: int, ticket: str) -> None:
        """Keep a ticket although the claim is lost. Where the generation has ended, the vendor will be told."""
        state = sa.case((_step.state == "intent", "ticket"), else_=_step.state)
        update = sa.update(generation_steps).where(self._try(name, attempt), _step.state.in_(("intent", "in_doubt")))
        kept = update.values(ticket=ticket, state=state).returning(_step.generation_id).cte("kept")
        ended = sa.select(generations.c.id).join(kept, kept.c.generation_id == generations.c.id)
        nobody_waits = ended.where(generations.c.finished_at.is_not(None)).subquery()
        statement = with_writes(sa.select(kept.c.generation_id), enqueue(WITHDRAW, nobody_waits))
        try:
            await retry_while_unavailable(lambda: self.db.run(statement))
        except Unavailable:  # all that can still be done for it
            where = {"generation_id": str(self.claim.id), "step": name, "attempt": attempt}
            log.exception("ticket_lost", **where, ticket=ticket)
            raise

    async def show_storing(self, name: str, attempt: int) -> None:
        """Show that a result is being stored, and note that this claim may write a file. Raises ClaimLost."""
        await retry_while_unavailable(lambda: self._write(_STORING, {"of_step": name, "of_attempt": attempt}))

    async def finish(self, name: str, attempt: int, result: Mapping[str, Any]) -> None:
        """Commit what the step has made. Raises ClaimLost."""
        done = {"of_step": name, "of_attempt": attempt, "made": dict(result)}
        await retry_while_unavailable(lambda: self._write(_FINISH, done))

    async def end_late(self, name: str, attempt: int, error: GenerationError, *, delivered: bool) -> None:
        """Note what came of an order that nobody waited for any more: the vendor's verdict, or a result.

        A result is an orphan where the generation has ended. Where it hasn't, it is lost and may have been billed: so
        this is a doubt like any other, and nobody may order again what it doesn't allow.
        """
        ended = sa.exists().where(generations.c.id == self.claim.id, generations.c.finished_at.is_not(None))
        doubt = "in_doubt" if delivered or (isinstance(error, ProviderError) and error.in_doubt) else "failed"
        values = {
            "state": sa.case((ended, "orphaned"), else_=doubt) if delivered else doubt,
            "error_code": error.code.value,
            "is_final": not error.retryable,
            "operator_message": error.operator_message or None,
            "ended_at": sa.func.now(),
        }
        still_open = _step.state.in_(("intent", "in_doubt"))
        update = sa.update(generation_steps).where(self._try(name, attempt), still_open).values(**values)
        await retry_while_unavailable(lambda: self.db.run(update))

    async def orphan(self, name: str, attempt: int, result: Mapping[str, Any]) -> None:
        """Keep, for the operator, a success that came after the claim was lost. Changes nothing else.

        It is no orphan if somebody else has delivered it, who had the same ticket. If the project has been deleted
        meanwhile, and erased, the file came after that: it is erased once more.
        """
        values = {"state": "orphaned", "result": dict(result), "ended_at": sa.func.now()}
        update = sa.update(generation_steps).where(self._try(name, attempt), _step.state != "done").values(**values)
        kept = update.returning(_step.generation_id).cte("kept")
        this = generations.c.id == self.claim.id  # whether or not somebody else has delivered
        project = sa.select(projects.c.id).join(generations, generations.c.project_id == projects.c.id)
        deleted = project.where(this, projects.c.deleted_at.is_not(None)).subquery()
        alone = sa.select(generations.c.id).where(this, generations.c.deleted_at.is_not(None)).subquery()
        erasing = (enqueue(ERASE_PROJECT, deleted), enqueue(ERASE_GENERATION, alone))
        statement = with_writes(sa.select(kept.c.generation_id), *erasing)
        await retry_while_unavailable(lambda: self.db.run(statement))

    def _try(self, name: str, attempt: int) -> "sa.ColumnElement[bool]":
        return sa.and_(_step.generation_id == self.claim.id, _step.name == name, _step.attempt == attempt)

    async def _write(self, statement: Statement[Any], parameters: Mapping[str, Any]) -> None:
        """Run a statement that returns a row as long as the claim is held. Raises ClaimLost."""
        if not await self.db.call(statement, claim_id=self.claim.id, claim_fence=self.claim.fence, **parameters):
            raise ClaimLost
