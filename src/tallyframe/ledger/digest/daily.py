"""The digest of the day: one worker makes it for all, by Postgres' clock and calendar (UTC)."""

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
#: The claim waits in its transaction while the books are read, so that transaction may be idle for as long as it takes.
_CLAIM = sa.select(
    sa.func.pg_try_advisory_xact_lock(LOCK), sa.func.set_config("idle_in_transaction_session_timeout", "0", True)
)
QUERY_CANCELED = "57014"  # as by the statement timeout

_TODAY = sa.func.timezone("UTC", sa.func.now()).cast(sa.Date)
#: A row counts only if it was made on its own day, and not in the future: nobody can claim a day in advance.
_COUNTS = sa.and_(
    ledger_digests.c.day == sa.func.timezone("UTC", ledger_digests.c.made_at).cast(sa.Date),
    ledger_digests.c.made_at <= sa.func.clock_timestamp(),
)
_IS_DONE = sa.select(sa.exists().where(ledger_digests.c.day == _TODAY, _COUNTS))
_SINCE = sa.func.extract("epoch", sa.func.clock_timestamp() - sa.func.max(ledger_digests.c.made_at))
_AGE = sa.select(_SINCE.cast(sa.BigInteger)).where(_COUNTS)


async def digest_of_the_day(db: Database, audit_db: Database, folder: str | Path | None) -> Digest | None:
    """Write today's digest into the folder and log its root; without a folder, only log it.

    None: it was done before, another worker does it now, or it failed. A failure is logged, and the day stays to be
    done, maybe by another worker. Raises Unavailable when Postgres can't even say whether it is done.

    The books are read through `audit_db`, whose statements may take long: one connection, and one of `db` meanwhile.
    """
    if (await db.run(_IS_DONE)).scalar_one():
        return None
    try:
        async with db.transaction() as claim:
            if not (await claim.execute(_CLAIM)).scalar_one() or (await claim.execute(_IS_DONE)).scalar_one():
                return None
            async with audit_db.transaction() as moment:
                reader = await snapshot(moment)
                digest, path = (
                    await write_into(reader, Path(folder)) if folder else (await write_digest(reader, None), "")
                )
                # The root is logged at once: if the claim fails afterwards, the file is there all the same.
                counts = {"accounts": digest.accounts, "entries": digest.entries, "balance": digest.balance}
                log.info("ledger_digest", root=digest.root, time=digest.time.isoformat(), file=str(path), **counts)
            await claim.execute(sa.insert(ledger_digests).values(day=_TODAY, root=digest.root))
    except Unavailable as error:
        cause = error.__cause__
        took_too_long = isinstance(cause, DBAPIError) and sqlstate(cause) == QUERY_CANCELED
        reason = "Reading the books took longer than a statement may." if took_too_long else str(error)
        log.error("ledger_digest_failed", reason=reason)  # noqa: TRY400  # the reason says it all
        return None
    return digest


async def digest_age(reader: Reader) -> int | None:
    """Return the seconds since the newest digest of a day was made, by the database's clock; None without any."""
    return (await reader.execute(_AGE)).scalar_one()
