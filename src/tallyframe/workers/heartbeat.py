"""Who is there: each worker renews its row, takes it away when it stops, and is forgotten when it falls silent.

Nothing depends on it but what operators see: which worker runs a generation is decided by its lease alone. Time is the
database's.
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
#: Seconds that a stopping worker may spend on taking its row away; without that, it is forgotten a little later.
LEAVE_SECONDS = 2.0


class Heartbeat:
    """The row of one worker. `slots` is how many generations it runs at once."""

    def __init__(self, db: Database, name: str, slots: int) -> None:
        self._db = db
        self._row: dict[str, Any] = {"name": name, "slots": slots}

    async def renew(self) -> None:
        """Show that this worker lives, and forget those that have been silent for too long. Raises Unavailable.

        A worker that was forgotten while it was frozen is there again, since when it really started.
        """
        row = (await self._db.run(self._upsert())).one()
        self._row["started_at"] = row.started_at
        # A statement of its own: two workers that wake up together would else each wait for the other's row.
        await self._db.run(_forget(self._row["name"]))

    async def leave(self) -> None:
        """Take the row away, unless a later worker of the same name has it. A lost database doesn't hold it up."""
        started_at: datetime | None = self._row.get("started_at")
        mine = sa.and_(workers.c.name == self._row["name"], workers.c.started_at == started_at)
        with suppress(Unavailable, TimeoutError):
            async with asyncio.timeout(LEAVE_SECONDS):
                await self._db.run(sa.delete(workers).where(mine))

    def _upsert(self) -> sa.Executable:
        """Return the write of the row; the first takes it over from an earlier worker of the same name."""
        insert = postgresql.insert(workers).values(**self._row)
        shown = {"slots": insert.excluded.slots, "seen_at": sa.func.clock_timestamp()}
        taken_over = {} if "started_at" in self._row else {"started_at": insert.excluded.started_at}
        update = insert.on_conflict_do_update(index_elements=["name"], set_={**shown, **taken_over})
        return update.returning(workers.c.started_at)


async def present(db: Database) -> list[str]:
    """Return the names of the workers that have shown a sign of life lately. Raises Unavailable."""
    return list((await db.run(sa.select(workers.c.name).where(is_present()))).scalars())


def is_present() -> "sa.ColumnElement[bool]":
    """Return the condition that a row of `workers` counts."""
    return workers.c.seen_at > sa.func.now() - sa.literal(timedelta(seconds=SILENCE), sa.Interval())


def _forget(renewed: str) -> sa.Delete:
    """Return the delete of all silent rows but the one just renewed; whoever is renewing another keeps it."""
    silent = sa.select(workers.c.name).where(~is_present(), workers.c.name != renewed)
    return sa.delete(workers).where(workers.c.name.in_(silent.with_for_update(skip_locked=True)))
