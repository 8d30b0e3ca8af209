"""The digest of the day: one for all workers together, by Postgres' clock and calendar (UTC)."""

from pathlib import Path

import sqlalchemy as sa
import structlog
from sqlalchemy.exc import DBAPIError

from tallyframe.db import Database, Reader
from tallyframe.errors import Unavailable
from tallyframe.ledger.digest.files import write_into
from tallyframe.ledger.digest.writer import Digest, write_digest
from tallyframe.ledger.snapshot import snapshot
from tallyframe.ledger.tables import ledger_digests
from tallyframe.lost import sqlstate

log = structlog.get_logger()

#: The number of the lock; nothing else takes one of this kind.
LOCK = 0x7466_6469_6765_7374
#: It says nothing while the books are read, and lives as long as its connection.
_CLAIM = sa.select(
    sa.func.pg_try_advisory_xact_lock(LOCK), sa.func.set_config("idle_in_transaction_session_timeout", "0", True)
)
QUERY_CANCELED = "57014"  # as by the statement timeout

_TODAY = sa.func.timezone("UTC", sa.func.now()).cast(sa.Date)
#: A row counts for the day on which it was made, and not before it was: one of tomorrow that was made today does not.
_IS_TRUE = sa.and_(
    ledger_digests.c.day == sa.func.timezone("UTC", ledger_digests.c.made_at).cast(sa.Date),
    ledger_digests.c.made_at <= sa.func.clock_timestamp(),
)
_IS_DONE = sa.select(sa.exists().where(ledger_digests.c.day == _TODAY, _IS_TRUE))
_SINCE = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.max(ledger_digests.c.made_at))
_AGE = sa.select(_SINCE.cast(sa.BigInteger)).where(_IS_TRUE)


async def digest_of_the_day(db: Database, audit_db: Database, folder: str | Path | None) -> Digest | None:
    """Write today's digest into the folder and log its root; without a folder, only log it. None if it is done.

    The books are read through `audit_db`, whose statements may take long: one connection, and one of `db` meanwhile.
    When it fails, that is logged, and the day is still to be done, maybe by another worker. Raises Unavailable when
    nobody can say whether it is done.
    """
    if (await db.run(_IS_DONE)).scalar_one():
        return None
    try:
        return await _claimed(db, audit_db, Path(folder) if folder else None)
    except Unavailable as error:
        log.error("ledger_digest_failed", reason=_reason(error))  # noqa: TRY400  # the reason says it all
        return None


def _reason(error: Unavailable) -> str:
    cause = error.__cause__
    if isinstance(cause, DBAPIError) and sqlstate(cause) == QUERY_CANCELED:
        return "Reading the books took longer than a statement may."
    return str(error)


async def digest_age(reader: Reader) -> int | None:
    """Return the seconds since the newest digest of a day was made, by the database's clock; None without any."""
    return (await reader.execute(_AGE)).scalar_one()


async def _claimed(db: Database, audit_db: Database, folder: Path | None) -> Digest | None:
    async with db.transaction() as claim:
        if not (await claim.execute(_CLAIM)).scalar_one():
            return None
        if (await claim.execute(_IS_DONE)).scalar_one():
            return None
        async with audit_db.transaction() as moment:
            digest = await _written(await snapshot(moment), folder)
        await claim.execute(sa.insert(ledger_digests).values(day=_TODAY, root=digest.root))
    return digest


async def _written(reader: Reader, folder: Path | None) -> Digest:
    """Write it and log its root at once: whatever becomes of the claim, the file is there."""
    digest, path = await write_into(reader, folder) if folder else (await write_digest(reader, None), "")
    counts = {"accounts": digest.accounts, "entries": digest.entries, "balance": digest.balance}
    log.info("ledger_digest", root=digest.root, time=digest.time.isoformat(), file=str(path), **counts)
    return digest
