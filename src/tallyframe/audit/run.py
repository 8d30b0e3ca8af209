"""Checks what is due, and keeps what was found. One worker does so at a time: the one that has the lock in Postgres."""

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
from tallyframe.migrate import read_revision
from tallyframe.storages.base import StorageError, Storages

log = structlog.get_logger()

#: The number of the lock; nothing else takes one of this kind.
LOCK = 0x7466_6175_6469_74

#: Postgres releases the lock when its connection ends.
_TRY_LOCK = sa.text("SELECT pg_try_advisory_lock(:lock)").bindparams(sa.bindparam("lock", LOCK, sa.BigInteger()))
_UNLOCK = sa.text("SELECT pg_advisory_unlock(:lock)").bindparams(sa.bindparam("lock", LOCK, sa.BigInteger()))


class InvariantViolated(Exception):
    """Something that must always be true is not."""


class Auditor:
    """Checks invariants through `db`, which needs two connections and a longer statement timeout than other work."""

    def __init__(
        self, db: Database, storages: Storages, limits: Limits, invariants: Sequence[Invariant] = INVARIANTS
    ) -> None:
        self._db = db
        self._storages = storages
        self._limits = limits
        self._invariants = invariants
        self._rests: dict[str, float] = {}  # until when (monotonic seconds) a check that failed here is left alone

    async def round(self) -> list[str]:
        """Check what is due, unless another worker does; return the names of what was checked. Raises Unavailable."""
        async with self._db.reading() as reader:
            if not self._due(await read(reader)):
                return []
        async with _locked(self._db) as reader:
            if reader is None:
                return []
            latest = await read(reader)  # again: another worker may just have done it
            return [each.name for each in self._due(latest) if await self._check(each, reader, latest)]

    def _due(self, latest: Mapping[str, Checked]) -> list[Invariant]:
        now, interval = monotonic(), self._limits.interval
        due = [each for each in self._invariants if is_due(each, latest.get(each.name), interval)]
        return [each for each in due if self._rests.get(each.name, 0) <= now]

    async def _check(self, invariant: Invariant, reader: Reader, latest: Mapping[str, Checked]) -> bool:
        """Check one invariant; False if that can't be done now, which keeps no other from being checked.

        Raises Unavailable when the connection to the database is lost, and the lock with it.
        """
        watch = Watch()
        last = latest[invariant.name].finding if invariant.name in latest else None
        try:
            with unavailable_when_lost():
                finding = await invariant.check(View(reader, self._storages, self._limits, last, watch))
                if finding.violations:
                    await _check_version(reader)
            _report(invariant, last or Finding(0, 0), finding)
            await write(self._db, invariant.name, finding, milliseconds=int(watch.seconds() * 1000))
        except (Unavailable, StorageError) as error:
            if isinstance(error, StorageError) or not self._db.outage.is_on:  # else that has been said already
                log.warning("audit_blind", invariant=invariant.name, error=str(error))
            self._let_rest(invariant, watch.seconds())
            if reader.invalidated or isinstance(error.__cause__, TimeoutError):
                raise  # the connection is lost, and the lock with it: the next round begins anew
        except Exception as error:  # a bug in one check must not end the others
            log.exception("audit_failed", invariant=invariant.name)
            observe.report(error)
            self._let_rest(invariant, watch.seconds())
        else:
            return True
        return False

    def _let_rest(self, invariant: Invariant, took: float) -> None:
        self._rests[invariant.name] = monotonic() + pause(invariant, self._limits.interval, took)


@asynccontextmanager
async def _locked(db: Database) -> AsyncIterator[Reader | None]:
    """Yield a connection that has the lock, or None if another worker has it.

    If the block raises, the connection is closed: back in the pool it would keep the lock for ever.
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


async def _check_version(reader: Reader) -> None:
    """Raise Unavailable when the migrations are another version's, as in an upgrade: its data is not ours to judge."""
    if not (await read_revision(reader.execute)).is_current:
        raise Unavailable("The migrations are not those of this version.")


def _report(invariant: Invariant, last: Finding, found: Finding) -> None:
    """Log a violation and send it to Sentry: once, and again only if there are more, or others."""
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
