"""The digest of the day: one for all workers together, by Postgres' clock and calendar (UTC)."""

from pathlib import Path

import sqlalchemy as sa
import structlog

from tallyframe.db import Database, Reader
from tallyframe.ledger.digest import Digest, write_digest
from tallyframe.ledger.files import NotWritten, write_into
from tallyframe.ledger.snapshot import snapshot
from tallyframe.ledger.tables import ledger_digests

log = structlog.get_logger()

#: The number of the lock; nothing else takes one of this kind.
LOCK = 0x7466_6469_6765_7374

_TODAY = sa.func.timezone("UTC", sa.func.now()).cast(sa.Date)
#: A row counts for the day on which it was made, and not before it was: one of tomorrow that was made today does not.
_IS_TRUE = sa.and_(
    ledger_digests.c.day == sa.func.timezone("UTC", ledger_digests.c.made_at).cast(sa.Date),
    ledger_digests.c.made_at <= sa.func.clock_timestamp(),
)
_IS_DONE = sa.select(sa.exists().where(ledger_digests.c.day == _TODAY, _IS_TRUE))
_SINCE = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.max(ledger_digests.c.made_at))
_AGE = sa.select(_SINCE.cast(sa.BigInteger)).where(_IS_TRUE)


async def digest_of_the_day(db: Database, folder: str | Path | None) -> Digest | None:
    """Write today's digest into the folder and log its root; without a folder, only log it. None if it is done.

    When it can't be written, that is logged, and the day is still to be done, maybe by another worker.
    """
    try:
        return await _claimed(db, Path(folder) if folder else None)
    except NotWritten as error:
        log.error("ledger_digest_failed", reason=str(error))  # noqa: TRY400  # the reason says it all
        return None


async def digest_age(reader: Reader) -> int | None:
    """Return the seconds since the newest digest of a day was made, by the database's clock; None without any."""
    return (await reader.execute(_AGE)).scalar_one()


async def _claimed(db: Database, folder: Path | None) -> Digest | None:
    if (await db.run(_IS_DONE)).scalar_one():
        return None
    async with db.transaction() as claim:
        if not (await claim.execute(sa.select(sa.func.pg_try_advisory_xact_lock(LOCK)))).scalar_one():
            return None
        if (await claim.execute(_IS_DONE)).scalar_one():
            return None
        async with db.transaction() as moment:
            digest, place = await _write(await snapshot(moment), folder)
        await claim.execute(sa.insert(ledger_digests).values(day=_TODAY, root=digest.root))
    counts = {"accounts": digest.accounts, "entries": digest.entries, "balance": digest.balance}
    log.info("ledger_digest", root=digest.root, time=digest.time.isoformat(), file=place, **counts)
    return digest


async def _write(reader: Reader, folder: Path | None) -> tuple[Digest, str]:
    if folder is None:
        return await write_digest(reader, None), ""
    digest, path = await write_into(reader, folder)
    return digest, str(path)
