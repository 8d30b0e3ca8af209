"""Reads that may lag: from a replica while it is there and close behind its primary, else from the primary."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime
from math import inf
from time import monotonic
from typing import TypeVar

import sqlalchemy as sa
import structlog

from tallyframe.db.database import Database
from tallyframe.errors import Unavailable
from tallyframe.lost import REFUSED, sqlstate

log = structlog.get_logger()

T = TypeVar("T")

#: Seconds for which the same is thought of a replica, and that a read waits to know what is thought of it.
LOOK_EVERY, LOOK_PATIENCE = 1.0, 0.5
#: Seconds after which a replica that isn't quite there is asked again: what was written last may be on its way.
WAITS = (0.0, 0.05, 0.2)

#: Up to where the primary has written what can be read there, in bytes of its log, and when that was.
_WRITTEN = sa.text("SELECT pg_wal_lsn_diff(pg_current_wal_flush_lsn(), '0/0')::bigint, clock_timestamp()")
#: Up to where a replica has read that log, and when the primary committed the last transaction in it.
_REPLAYED = sa.text("""
    SELECT pg_is_in_recovery(), pg_wal_lsn_diff(pg_last_wal_replay_lsn(), '0/0')::bigint,
           pg_last_xact_replay_timestamp()""")

_QUERY_CANCELED = "57014"  # as by the statement timeout


@dataclass(frozen=True, slots=True)
class Written:
    """How much a primary had written, in bytes, at a time of its clock."""

    position: int
    at: datetime


class Replica:
    """A replica, and whether it may be read. It is looked at once a second at most, and only when somebody reads."""

    def __init__(self, db: Database, primary: Database, *, max_lag: float) -> None:
        """`max_lag`: seconds that it may be behind."""
        self.db = db
        self.lag: float | None = None  # seconds, at the last look; None: not known
        self._primary, self._max_lag = primary, max_lag
        self._looking: asyncio.Task[None] | None = None
        self._looked = -inf
        self._is_close: bool | None = None  # at the last look; None: there was none
        self._is_told = False

    async def is_close(self) -> bool:
        """Tell whether it is at most so far behind. Nobody waits for one that was not at the last look."""
        if (self._looking is None or self._looking.done()) and monotonic() - self._looked > LOOK_EVERY:
            self._looking = asyncio.create_task(self.look())
        if self._is_close is not False and self._looking and not self._looking.done():
            done, _ = await asyncio.wait({self._looking}, timeout=LOOK_PATIENCE)
            self._is_close = self._is_close if done else False
        return bool(self._is_close)

    async def close(self) -> None:
        """Close all connections to it."""
        if self._looking:
            self._looking.cancel()
            await asyncio.wait({self._looking})
        await self.db.close()

    async def look(self) -> None:
        """Look how far it is behind. If the primary is away, it can't fall behind: what was known stands."""
        try:
            written = await read_written(self._primary)
        except (Unavailable, *REFUSED):
            self._looked = monotonic()
            return
        try:
            self.lag = await seconds_behind(self.db, written)
        except (Unavailable, *REFUSED):
            self.lag = None  # of which its outage has told
        self._looked = monotonic()
        self._is_close = self.lag is not None and self.lag <= self._max_lag
        if self._is_close and self._is_told:
            log.info("replica_fit", seconds=self.lag)
            self._is_told = False
        elif self.lag is not None and not (self._is_close or self._is_told):
            reason = "it is no replica" if self.lag == inf else f"it is {self.lag:.0f} s behind"
            log.warning("replica_unfit", reason=reason)
            self._is_told = True


async def read_written(primary: Database) -> Written:
    """Return how much a primary has written by now. Raises Unavailable."""
    return Written(*(await primary.run(_WRITTEN)).one())


async def seconds_behind(db: Database, written: Written) -> float:
    """Return how many seconds a replica is behind a primary that had written so much.

    The age of its last transaction is its lag only while there is something that it hasn't read: else that age grows
    whenever nobody writes. `inf`: it is no replica, or has read no transaction yet.
    """
    for wait in WAITS:
        await asyncio.sleep(wait)
        is_replica, replayed, committed_at = (await db.run(_REPLAYED)).one()
        if not is_replica:
            return inf
        if replayed is not None and replayed >= written.position:
            return 0.0
    return max((written.at - committed_at).total_seconds(), 0.0) if committed_at else inf


class LaggingReads:
    """A primary for reads that may lag, with a replica or without."""

    def __init__(
        self,
        primary: Database,
        replica: Replica | None = None,
        *,
        share: int = 1,
        count: Callable[[str], object] = lambda _: None,
    ) -> None:
        """Hold one in `share` connections to the replica at most. `count` is told of each read which one it asked."""
        self._primary, self._replica, self._count = primary, replica, count
        self._db = replica.db.in_part(share) if replica else primary

    async def read(self, read: Callable[[Database], Awaitable[T]]) -> T:
        """Return what `read` finds in a database that is whole and may lag. Raises what that raises.

        It is called again, with the primary, where the replica is away, gives way to what it replays, or has not got
        the tables yet of a migration that has just been made.
        """
        if self._replica is None:
            return await read(self._primary)
        if await self._replica.is_close():
            try:
                found = await read(self._db)
            except (Unavailable, *REFUSED) as error:
                if sqlstate(error.__cause__ or error) == _QUERY_CANCELED:
                    raise  # it would take as long at the primary
            else:
                self._count("replica")
                return found
        self._count("primary")
        return await read(self._primary)
