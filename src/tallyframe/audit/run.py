"""Checks what is due, and keeps what was found. Of all workers one does so at a time: who has the lock in Postgres."""

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from time import monotonic

import sqlalchemy as sa
import structlog

from tallyframe import observe
from tallyframe.audit.base import MOST, Finding, Invariant, Limits, View, Watch
from tallyframe.audit.invariants import INVARIANTS
from tallyframe.audit.rows import Checked, is_due, pause, read, write
from tallyframe.db import Database, Reader
from tallyframe.errors import Unavailable
from tallyframe.lost import unavailable_when_lost
from tallyframe.migrate import newest_revision
from tallyframe.storages.base import StorageError, Storages

log = structlog.get_logger()

#: The number of the lock; nothing else takes one of this kind.
LOCK = 0x7466_6175_6469_74

#: The lock lives as long as its connection.
_TRY_LOCK = sa.text("SELECT pg_try_advisory_lock(:lock)").bindparams(sa.bindparam("lock", LOCK, sa.BigInteger()))
_UNLOCK = sa.text("SELECT pg_advisory_unlock(:lock)").bindparams(sa.bindparam("lock", LOCK, sa.BigInteger()))

_REVISION = sa.text("SELECT version_num FROM alembic_version")


class InvariantViolated(Exception):
    """Something that must always be true is not."""


class Auditor:
    """Looks at everything through `db`, which needs two connections, and a longer statement timeout than other work."""

    def __init__(
        self, db: Database, storages: Storages, limits: Limits, invariants: Sequence[Invariant] = INVARIANTS
    ) -> None:
        self._db = db
        self._storages = storages
        self._limits = limits
        self._invariants = invariants
        self._rests: dict[str, float] = {}  # until when a check that failed here is left alone, by the monotonic clock

    async def round(self) -> list[str]:
        """Check what is due, if nobody else does; return the names of what was checked. Raises Unavailable."""
        async with self._db.reading() as reader:
            if not self._due(await read(reader)):
                return []
        async with _alone(self._db) as only_we:
            if only_we is None:
                return []
            latest = await read(only_we)  # again: somebody may just have done it
            return [each.name for each in self._due(latest) if await self._tried(each, only_we, latest)]

    def _due(self, latest: Mapping[str, Checked]) -> list[Invariant]:
        now, interval = monotonic(), self._limits.interval
        due = [each for each in self._invariants if is_due(each, latest.get(each.name), interval)]
        return [each for each in due if self._rests.get(each.name, 0) <= now]

    async def _tried(self, invariant: Invariant, reader: Reader, latest: Mapping[str, Checked]) -> bool:
        """Check one invariant; False if that can't be done now. What keeps one from being checked keeps no other.

        Raises Unavailable when the line to the database is gone.
        """
        watch = Watch()
        last = latest[invariant.name].finding if invariant.name in latest else None
        try:
            with unavailable_when_lost():
                finding = await invariant.check(View(reader, self._storages, self._limits, last, watch))
                if finding.violations:
                    await _see_that_we_fit(reader)
            _tell(invariant, last or Finding(0, 0), finding)
            await write(self._db, invariant.name, finding, milliseconds=int(watch.seconds() * 1000))
        except (Unavailable, StorageError) as error:
            log.warning("audit_blind", invariant=invariant.name, error=str(error))
            self._let_rest(invariant, watch.seconds())
            if reader.invalidated or isinstance(error.__cause__, TimeoutError):
                raise  # the line is gone, and the lock with it: the next round begins anew
        except Exception as error:  # a bug in one check, which the others must outlive
            log.exception("audit_failed", invariant=invariant.name)
            observe.report(error)
            self._let_rest(invariant, watch.seconds())
        else:
            return True
        return False

    def _let_rest(self, invariant: Invariant, took: float) -> None:
        self._rests[invariant.name] = monotonic() + pause(invariant, self._limits.interval, took)


@asynccontextmanager
async def _alone(db: Database) -> AsyncIterator[Reader | None]:
    """Yield a connection that has the lock, or None if somebody else has it.

    If the block raises, the connection is closed: a lock that went back into the pool would never be free again.
    """
    async with db.reading() as reader:
        if not (await reader.execute(_TRY_LOCK)).scalar_one():
            yield None
            return
        try:
            yield reader
            await reader.execute(_UNLOCK)
        except BaseException:
            await reader.invalidate()
            raise


async def _see_that_we_fit(reader: Reader) -> None:
    """Raise Unavailable when the database is another version's, as in an upgrade: then this is not ours to judge."""
    if (await reader.execute(_REVISION)).scalar_one_or_none() != newest_revision():
        raise Unavailable("The migrations are not those of this version.")


def _tell(invariant: Invariant, last: Finding, found: Finding) -> None:
    """Log and report what is wrong, once, and again only if there is more of it or something else is wrong."""
    if invariant.is_counted:
        return
    before, now = ({example.subject for example in finding.examples} for finding in (last, found))
    is_news = found.violations > last.violations or (found.violations <= MOST and not now <= before)
    about = {"invariant": invariant.name, "violations": found.violations}
    if found.violations and is_news:
        examples = [f"{example.subject}: {example.detail}" for example in found.examples[:MOST]]
        log.error("invariant_violated", **about, examples=examples)
        observe.report(InvariantViolated(f"{invariant.name}: {found.violations}. {invariant.meaning} {examples[:3]}"))
    elif last.violations and not found.violations:
        log.info("invariant_mended", **about)
