"""The books compared with a digest: every entry that was there then must be there now, unchanged.

The chain shows that entries follow from each other. It does not show that the last ones are still there, or that it is
still the same chain. A digest does: the entry of the version that it names must still have that hash.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.digest.reader import DigestFile, Head, NotADigest
from tallyframe.ledger.digest.writer import BATCH
from tallyframe.ledger.issue import Issue

#: An entry that is not in the digest may be dated so much earlier than it: its transaction may have taken a while, and
#: clocks are set back. For the same reason the times of entries need not be in order.
MARGIN = 10  # minutes
_LAST = UUID(int=2**128 - 1)

_NOW = sa.text("""
    SELECT a.user_id, a.version, e.hash, e.balance_after
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:versions AS bigint[])) WITH ORDINALITY AS was (account, version, place)
    LEFT JOIN public.accounts a ON a.id = was.account
    LEFT JOIN public.ledger_entries e ON e.account_id = was.account AND e.version = was.version
    ORDER BY was.place""")

#: Looks at all accounts in a range of ids, also those that the digest doesn't have. Some times fit in no datetime, so
#: they are text.
_BACKDATED = sa.text("""
    SELECT a.id, late.version, date_trunc('second', late.created_at AT TIME ZONE 'UTC')::text
    FROM public.accounts a
    LEFT JOIN unnest(CAST(:accounts AS uuid[]), CAST(:versions AS bigint[])) AS was (account, version)
        ON was.account = a.id
    CROSS JOIN LATERAL (
        SELECT e.version, e.created_at FROM public.ledger_entries e
        WHERE e.account_id = a.id AND e.version > coalesce(was.version, 0)
              AND e.created_at < CAST(:time AS timestamptz) - make_interval(mins => :margin)
        ORDER BY e.version LIMIT 1) AS late
    WHERE (CAST(:after AS uuid) IS NULL OR a.id > CAST(:after AS uuid)) AND a.id <= CAST(:upto AS uuid)
    ORDER BY a.id""").bindparams(margin=MARGIN)


async def compare(reader: Reader, path: Path, root: str | None = None) -> AsyncIterator[Issue]:
    """Yield what the digest in that file has and the books have no more, and what is wrong with the file itself.

    Holds one batch at a time. `root` is what the file's root must be, if that is known.
    """
    try:
        opened = path.open("rb")
    except OSError as error:
        yield None, f"it can't be read: {error.strerror}"
        return
    with opened as file:
        try:
            async for issue in _differences(reader, DigestFile(file, root)):
                yield issue
        except NotADigest as error:
            yield None, str(error)


async def _differences(reader: Reader, digest: DigestFile) -> AsyncIterator[Issue]:
    """Go through all accounts in the order of their ids, those of the digest and those that came later."""
    heads, after = digest.heads(), None
    while batch := list(islice(heads, BATCH)):
        rows = (await reader.execute(_NOW, _ids_and_versions(batch))).all()
        for then, now in zip(batch, rows, strict=True):
            for words in _changes(then, *now):
                yield then.account, f"{words} ({_name(digest.time)})"
        async for issue in _backdated(reader, digest.time, batch, after, batch[-1].account):
            yield issue
        after = batch[-1].account
    async for issue in _backdated(reader, digest.time, [], after, _LAST):
        yield issue


def _changes(then: Head, user: UUID | None, version: int | None, head: bytes | None, balance: int) -> Iterator[str]:
    """Yield what has changed about an account since then. All but `then` is as the books have it now."""
    if user is None:
        yield f"the account is gone, with {then.version} entries and {then.balance} credits"
        return
    if user != then.user:
        yield f"it belonged to user {then.user}, and belongs to user {user} now"
    if then.version == 0:
        return
    if head is None:
        yield f"entry {then.version} is gone: there were {then.version} entries, the account says {version}"
    elif head != then.head:
        yield f"entry {then.version}: it or an earlier one was rewritten, its balance {then.balance} → {balance}"


async def _backdated(
    reader: Reader, time: datetime, heads: list[Head], after: UUID | None, upto: UUID
) -> AsyncIterator[Issue]:
    """Yield accounts between the two ids with an entry that is dated before the digest, but was not there then."""
    rows = await reader.execute(_BACKDATED, {**_ids_and_versions(heads), "time": time, "after": after, "upto": upto})
    for account, version, created_at in rows.all():
        yield account, f"entry {version} is dated {created_at} UTC, but was not there yet ({_name(time)})"


def _ids_and_versions(heads: list[Head]) -> dict[str, object]:
    return {"accounts": [head.account for head in heads], "versions": [head.version for head in heads]}


def _name(time: datetime) -> str:
    return f"digest of {time:%Y-%m-%d %H:%M:%S} UTC"
