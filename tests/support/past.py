"""Generations that were accepted, taken up and ended at given times, with their entries in the books."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from tallyframe.ids import new_id
from tests.support.postings import Postings

INSERT = """
    INSERT INTO generations (id, project_id, user_id, account_id, operation, input, credits, status, provider, model,
                             error_code, expires_at, created_at, started_at, finished_at)
    VALUES ($1, $2, $3, $4, $5, '{}', $6, $7, $8, 'a model', $9, now(), $10, $11, $12)"""
PROJECT = """
    INSERT INTO projects (id, user_id, kind, status, prompt, aspect_ratio, generation_id)
    VALUES ($1, $2, 'image', 'canceled', 'a cup', '1:1', $3)"""
FINAL = ("succeeded", "failed", "canceled")


def id_at(moment: datetime) -> UUID:
    """An id as it would have been made then."""
    milliseconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(milliseconds=1)
    return UUID(int=(milliseconds << 80) | (new_id().int & ((1 << 80) - 1)))


@dataclass(frozen=True)
class Past:
    """Writes the past of one account, for tests that work figures out by hand."""

    postings: Postings
    refunds: dict[UUID, UUID] = field(default_factory=dict)  # generation → entry

    async def was(
        self,
        moment: datetime,
        status: str = "succeeded",
        *,
        operation: str = "image",
        provider: str | None = "gemini",
        price: int = 5,
        back: int | None = None,
        **more: Any,
    ) -> UUID:
        """Write a generation accepted at that moment.

        `picked` and `took` are seconds from then on; `back` is what was refunded, by default what is right; `made` is
        when the id was made; `error` is the code.
        """
        generation, project = id_at(more.get("made", moment)), new_id()
        ended = moment + timedelta(seconds=more.get("took", 0)) if status in FINAL else None
        started = moment + timedelta(seconds=more["picked"]) if "picked" in more else None
        usual = {"failed": "internal", "canceled": "canceled"}.get(status)
        who = self.postings
        await who.connection.execute(PROJECT, project, who.user, generation)
        row = (generation, project, who.user, who.account, operation, price, status, provider)
        times = (more.get("error", usual), moment, started, ended)
        await who.connection.execute(INSERT, *row, *times)
        await self._pay(generation, price, back if back is not None else price * (status in ("failed", "canceled")))
        return generation

    async def _pay(self, generation: UUID, price: int, back: int) -> None:
        if price:
            reference = f"generation:{generation}"
            debit = await self.postings.post("debit", -price, generation_id=generation, reference=reference)
            if back:
                connection = self.postings.connection  # what is not due would be refused
                await connection.execute("ALTER TABLE ledger_entries DISABLE TRIGGER ledger_refund_is_due")
                self.refunds[generation] = await self.postings.refund(generation, debit, back)
                await connection.execute("ALTER TABLE ledger_entries ENABLE ALWAYS TRIGGER ledger_refund_is_due")
