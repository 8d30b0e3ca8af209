"""The durable marks of a step that a vendor may bill: intent, ticket, done, failed, in doubt, withdrawn.

`intent` is committed before the vendor is called and `ticket` before anything waits, so whatever dies in between, the
next run knows whether to resume, to ask for trouble to be booked, or to order. Every write asks for the claim's fence.
"""

from dataclasses import asdict, dataclass
from typing import Any
from uuid import UUID

import sqlalchemy as sa
import structlog
from sqlalchemy.sql import Executable

from tallyframe.db import Database, retry_while_unavailable, with_writes
from tallyframe.errors import GenerationError, ProviderError, Unavailable
from tallyframe.generations.claim import Claim, bump_project, held
from tallyframe.generations.tables import ERASE_PROJECT, WITHDRAW, generation_steps, generations
from tallyframe.operations.base import Stored
from tallyframe.outbox.rows import enqueue
from tallyframe.projects.tables import projects
from tallyframe.providers.base import Provider
from tallyframe.redaction import hidden

log = structlog.get_logger()


class ClaimLost(Exception):
    """The generation has been taken over, canceled or expired; what this worker does no longer counts."""


@dataclass(frozen=True, slots=True)
class Step:
    """One try of a step."""

    attempt: int
    state: str
    provider: str
    ticket: str | None
    result: dict[str, Any] | None
    error_code: str | None
    is_final: bool


class Steps:
    """The steps of one claimed generation."""

    def __init__(self, db: Database, claim: Claim) -> None:
        self._db = db
        self._claim = claim

    async def tries(self, name: str) -> list[Step]:
        """Return all tries of the step, oldest first, whichever attempts made them."""
        columns = [generation_steps.c[field] for field in Step.__dataclass_fields__]
        mine = (generation_steps.c.generation_id == self._claim.id) & (generation_steps.c.name == name)
        query = sa.select(*columns).where(mine).order_by(generation_steps.c.attempt)
        return [Step(*row) for row in (await self._db.run(query)).all()]

    async def intend(self, name: str, provider: Provider) -> None:
        """Commit that the vendor is about to be called; also show which one. Raises ClaimLost."""
        values = {"provider": provider.name, "model": provider.model}
        update = sa.update(generations).where(held(self._claim)).values(**values)
        shown = update.returning(generations.c.id, generations.c.project_id).cte("shown")
        row = {"name": name, "attempt": self._claim.attempt, "state": "intent", **values}
        literals = [sa.literal(value, generation_steps.c[column].type) for column, value in row.items()]
        insert = sa.insert(generation_steps).from_select([*row, "generation_id"], sa.select(*literals, shown.c.id))
        await self._write(with_writes(sa.select(shown.c.id), insert, bump_project(shown)))

    async def keep_ticket(self, name: str, attempt: int, ticket: str) -> bool:
        """Commit the vendor's ticket, before anything waits for it.

        False: the claim is lost. The ticket is kept all the same: who has taken over may collect it, and when the
        generation has ended, the vendor will be told.
        """
        try:
            return await retry_while_unavailable(lambda: self._keep_ticket(name, attempt, ticket))
        except Unavailable:  # all that can still be done for it
            log.exception("ticket_lost", generation_id=str(self._claim.id), attempt=attempt, ticket=ticket)
            raise

    async def _keep_ticket(self, name: str, attempt: int, ticket: str) -> bool:
        try:
            await self._change(name, attempt, {"state": "ticket", "ticket": ticket})
        except ClaimLost:
            await self._db.run(self._late_ticket(name, attempt, ticket))
            return False
        return True

    def _late_ticket(self, name: str, attempt: int, ticket: str) -> Executable:
        row = generation_steps.c
        state = sa.case((row.state == "intent", "ticket"), else_=row.state)
        update = sa.update(generation_steps).where(self._try(name, attempt), row.state.in_(("intent", "in_doubt")))
        kept = update.values(ticket=ticket, state=state).returning(row.generation_id).cte("kept")
        ended = sa.select(generations.c.id).join(kept, kept.c.generation_id == generations.c.id)
        nobody_waits = ended.where(generations.c.finished_at.is_not(None)).subquery()
        return with_writes(sa.select(kept.c.generation_id), enqueue(WITHDRAW, nobody_waits))

    async def finish(self, name: str, attempt: int, result: Stored) -> None:
        """Commit what the step made. Raises ClaimLost."""
        done = {"state": "done", "result": asdict(result), "ended_at": sa.func.now()}
        await retry_while_unavailable(lambda: self._change(name, attempt, done))

    async def fail(self, name: str, attempt: int, error: GenerationError) -> None:
        """Commit the vendor's verdict, with its own words for the operator. Raises ClaimLost."""
        await self._end(name, attempt, "failed", error)

    async def doubt(self, name: str, attempt: int, error: GenerationError) -> None:
        """Book that nobody knows what became of a call: it may have cost something at the vendor. Raises ClaimLost."""
        await self._end(name, attempt, "in_doubt", error)

    async def _end(self, name: str, attempt: int, state: str, error: GenerationError) -> None:
        await self._change(name, attempt, {"state": state, **_verdict(error)})

    async def end_late(self, name: str, attempt: int, error: GenerationError, *, delivered: bool) -> None:
        """Note what came of an order that nobody waited for any more: the vendor's verdict, or a result.

        A result is an orphan where the generation has ended. Where it hasn't, it is lost and may have been billed: so
        this is a doubt like any other, and nobody may order again what it doesn't allow.
        """
        ended = sa.exists().where(generations.c.id == self._claim.id, generations.c.finished_at.is_not(None))
        doubt = "in_doubt" if delivered or (isinstance(error, ProviderError) and error.in_doubt) else "failed"
        state = sa.case((ended, "orphaned"), else_=doubt) if delivered else doubt
        values = {"state": state, **_verdict(error)}
        still_open = generation_steps.c.state.in_(("intent", "in_doubt"))
        update = sa.update(generation_steps).where(self._try(name, attempt), still_open).values(**values)
        await retry_while_unavailable(lambda: self._db.run(update))

    async def orphan(self, name: str, attempt: int, result: Stored) -> None:
        """Keep, for the operator, a success that came after the generation had ended. Changes nothing else.

        Nor is it an orphan if somebody else has delivered it, who had the same ticket. If the project has been deleted
        meanwhile, and erased, the file came after that: it is erased once more.
        """
        row = generation_steps.c
        values = {"state": "orphaned", "result": asdict(result), "ended_at": sa.func.now()}
        update = sa.update(generation_steps).where(self._try(name, attempt), row.state != "done").values(**values)
        kept = update.returning(row.generation_id).cte("kept")
        deleted = sa.select(projects.c.id).join(generations).join(kept, kept.c.generation_id == generations.c.id)
        too_late = deleted.where(projects.c.deleted_at.is_not(None)).subquery()
        await self._db.run(with_writes(sa.select(kept.c.generation_id), enqueue(ERASE_PROJECT, too_late)))

    async def _change(self, name: str, attempt: int, values: dict[str, Any]) -> None:
        ours = sa.exists().where(held(self._claim))
        update = sa.update(generation_steps).where(self._try(name, attempt), ours).values(**values)
        await self._write(update.returning(generation_steps.c.generation_id))

    def _try(self, name: str, attempt: int) -> "sa.ColumnElement[bool]":
        row = generation_steps.c
        return sa.and_(row.generation_id == self._claim.id, row.name == name, row.attempt == attempt)

    async def _write(self, statement: Executable) -> None:
        written: UUID | None = (await self._db.run(statement)).scalar_one_or_none()
        if written is None:
            raise ClaimLost


def _verdict(error: GenerationError) -> dict[str, Any]:
    return {
        "error_code": error.code.value,
        "is_final": not error.retryable,
        "operator_message": hidden(error.operator_message)[:2000] or None,
        "ended_at": sa.func.now(),
    }
