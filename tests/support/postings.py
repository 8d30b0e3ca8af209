"""Ledger entries inserted by hand, as nobody but a test (or a thief) would, and the audit's verdict on them."""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

import asyncpg

from tallyframe.db import Database
from tallyframe.ids import new_id
from tallyframe.ledger.verify import verify
from tests.support.audited import moment

INSERT = """
    INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reverses_entry_id, reference, reason)
    VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"""

STATE = "SELECT balance, version, head FROM accounts WHERE id = $1"
GUARDED = ("ledger_entries", "accounts", "generations", "admin_log")  # tables whose triggers refuse
TRIGGERS = "SELECT tgname FROM pg_trigger WHERE tgrelid = $1::regclass AND NOT tgisinternal"


@dataclass(frozen=True)
class Postings:
    """Writes to one account over `connection`."""

    connection: "asyncpg.Connection[asyncpg.Record]"
    account: UUID
    user: UUID

    async def post(self, kind: str, amount: int, *, suffix: str = "", **columns: Any) -> UUID:
        """Insert an entry and return its id; the reference is new unless it is given."""
        entry = columns.get("id") or new_id()
        reference = columns.get("reference") or f"test:{entry}"
        reason = columns.get("reason") or "a test"
        generation, reverses = columns.get("generation_id"), columns.get("reverses_entry_id")
        row = (entry, columns.get("account_id") or self.account, kind, amount, generation, reverses, reference, reason)
        await self.connection.execute(f"{INSERT} {suffix}", *row)
        return entry

    async def state(self) -> tuple[int, int, bytes]:
        """Read balance, version and head."""
        row = await self.connection.fetchrow(STATE, self.account)
        assert row is not None
        return row["balance"], row["version"], row["head"]

    async def generation(self, price: int = 5, status: str = "succeeded") -> UUID:
        """Insert a project with a generation of this price, which is not debited yet."""
        project, generation = new_id(), new_id()
        insert_project = """
            INSERT INTO projects (id, user_id, kind, status, prompt, aspect_ratio, generation_id)
            VALUES ($1, $2, 'image', 'canceled', 'a cup', '1:1', $3)"""
        await self.connection.execute(insert_project, project, self.user, generation)
        insert_generation = """
            INSERT INTO generations (id, project_id, user_id, account_id, operation, input, credits, status,
                                     error_code, finished_at, expires_at)
            VALUES ($1, $2, $3, $4, 'image', '{}', $5, $6, CASE WHEN $6 IN ('failed', 'canceled') THEN 'internal' END,
                    CASE WHEN $6 IN ('succeeded', 'failed', 'canceled') THEN now() END, now())"""
        await self.connection.execute(insert_generation, generation, project, self.user, self.account, price, status)
        return generation

    async def bought(self, price: int = 5, status: str = "succeeded") -> tuple[UUID, UUID]:
        """Insert a generation and its debit; return both ids."""
        generation = await self.generation(price, status)
        debit = await self.post("debit", -price, generation_id=generation, reference=f"generation:{generation}")
        return generation, debit

    async def refund(self, generation: UUID, debit: UUID, amount: int = 5, **columns: Any) -> UUID:
        """Insert a refund of the debit."""
        given = {"reference": f"generation:{generation}", "generation_id": generation, "reverses_entry_id": debit}
        return await self.post("refund", amount, **{**given, **columns})


async def falsify(connection: "asyncpg.Connection[asyncpg.Record]", *statements: str) -> None:
    """Change the books behind the triggers' backs, as only a superuser can, and put the guards back."""
    async with connection.transaction():
        for table in GUARDED:
            await connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        for statement in statements:
            status = await connection.execute(statement)
            assert not status.endswith(" 0"), f"changed nothing: {statement}"
        await put_guards_back(connection)


async def put_guards_back(connection: "asyncpg.Connection[asyncpg.Record]") -> None:
    """Enable what was disabled: foreign keys as they were, our triggers for replicas too."""
    for table in GUARDED:
        await connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER ALL")
        for (trigger,) in await connection.fetch(TRIGGERS, table):
            await connection.execute(f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {trigger}")
    await connection.execute("ALTER TABLE generations FORCE ROW LEVEL SECURITY")


async def verdict(db: Database) -> dict[str, list[tuple[UUID | None, str]]]:
    """Audit the books: check → the accounts that it names, each with what is wrong."""
    async with moment(db) as reader:
        found = {name: [each async for each in finds] async for name, finds in verify(reader)}
    return {name: finds for name, finds in found.items() if finds}
