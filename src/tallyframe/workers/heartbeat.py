"""A worker's row: the worker renews it, and removes it when it stops; others remove it when it has been silent.

It is only for operators to see: which worker runs a generation is decided by the lease alone. All times are by the
database's clock.
"""

import asyncio
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from tallyframe.db import Database
from tallyframe.errors import Unavailable
from tallyframe.workers.tables import workers

#: Seconds from one sign of life to the next.
RENEW_EVERY = 10.0
#: Seconds of silence after which a worker no longer counts.
SILENCE = 60.0
#: Seconds that a stopping worker may spend on removing its row; otherwise others remove it a little later.
LEAVE_SECONDS = 2.0


class Heartbeat:
    """The row of one worker. `slots` is how many generations it runs at once."""

    def __init__(self, db: Database, name: str, slots: int) -> None:
        self._db = db
        self._row: dict[str, Any] = {"name": name, "slots": slots}

    async def renew(self) -> None:
        """Show that this worker lives, and remove the rows of those that have been silent. Raises Unavailable.

        The first renewal takes the row over from an earlier worker of the same name. A worker whose row was removed
        while it was frozen gets it back, with the time at which it really started.
        """
        insert = postgresql.insert(workers).values(**self._row)
        shown = {"slots": insert.excluded.slots, "seen_at": sa.func.clock_timestamp()}
        if "started_at" not in self._row:
            shown["started_at"] = insert.excluded.started_at
        upsert = insert.on_conflict_do_update(index_elements=["name"], set_=shown).returning(workers.c.started_at)
        self._row["started_at"] = (await self._db.run(upsert)).scalar_one()
        # A statement of its own, that skips rows which are being renewed: else two workers could wait for each other.
        silent = sa.select(workers.c.name).where(~is_present(), workers.c.name != self._row["name"])
        silent = silent.with_for_update(skip_locked=True)
        await self._db.run(sa.delete(workers).where(workers.c.name.in_(silent)))

    async def leave(self) -> None:
        """Remove the row, unless a later worker of the same name has it. Gives up after LEAVE_SECONDS."""
        started_at: datetime | None = self._row.get("started_at")
        mine = sa.and_(workers.c.name == self._row["name"], workers.c.started_at == started_at)
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._db.run(sa.delete(workers).where(mine))


async def present(db: Database) -> list[str]:
    """Return the names of the workers that have shown a sign of life lately. Raises Unavailable."""
    return list((await db.run(sa.select(workers.c.name).where(is_present()))).scalars())


def is_present() -> "sa.ColumnElement[bool]":
    """Return the condition that a row of `workers` belongs to a worker that is alive."""
    return workers.c.seen_at > sa.func.now() - sa.literal(timedelta(seconds=SILENCE), sa.Interval())
