"""The books held against a digest: whatever was there then must be there now, entry by entry.

The chain shows that entries follow from each other, but not that the last ones are still there, nor that it is the
same chain. A digest does: the entry of that version must still have that hash.
"""

from collections.abc import AsyncIterator, Iterator
from datetime import datetime
from itertools import islice
from pathlib import Path
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.digest.reader import Head, HeldFile, NotADigest
from tallyframe.ledger.digest.writer import BATCH
from tallyframe.ledger.issue import Issue

#: How much older than the digest an entry may be that is not in it: its transaction may have taken a while, and clocks
#: are set back. So no order is asked of entries among each other.
MARGIN = 10  # minutes
_LAST = UUID(int=2**128 - 1)

_NOW = sa.text("""
    SELECT a.user_id, a.version, e.hash, e.balance_after
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:versions AS bigint[])) WITH ORDINALITY AS was (account, version, place)
    LEFT JOIN public.accounts a ON a.id = was.account
    LEFT JOIN public.ledger_entries e ON e.account_id = was.account AND e.version = was.version
    ORDER BY was.place""")

#: Of all accounts in a range of ids, also those that the digest doesn't have. Times as text: some fit in no datetime.
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


async def held_against(reader: Reader, path: Path, root: str | None = None) -> AsyncIterator[Issue]:
    """Yield what of the digest in that file is not in the books any more, and what is wrong with the file itself.

    Holds one batch at a time. `root` is what the file's must be, if that is known.
    """
    try:
        opened = path.open("rb")
    except OSError as error:
        yield None, f"it can't be read: {error.strerror}"
        return
    with opened as file:
        try:
            async for found in _held(reader, HeldFile(file, root)):
                yield found
        except NotADigest as error:
            yield None, str(error)


async def _held(reader: Reader, digest: HeldFile) -> AsyncIterator[Issue]:
    heads, after = digest.heads(), None
    while batch := list(islice(heads, BATCH)):
        async for found in _compare(reader, digest.time, batch):
            yield found
        async for found in _backdated(reader, digest.time, batch, after, batch[-1].account):
            yield found
        after = batch[-1].account
    async for found in _backdated(reader, digest.time, [], after, _LAST):
        yield found


async def _compare(reader: Reader, time: datetime, heads: list[Head]) -> AsyncIterator[Issue]:
    for head, now in zip(heads, (await reader.execute(_NOW, _wanted(heads))).all(), strict=True):
        for words in _differences(head, *now):
            yield head.account, f"{words} ({_named(time)})"


async def _backdated(
    reader: Reader, time: datetime, heads: list[Head], after: UUID | None, upto: UUID
) -> AsyncIterator[Issue]:
    """Yield the accounts between the two ids with an entry that came after the digest and says that it is older."""
    rows = await reader.execute(_BACKDATED, {**_wanted(heads), "time": time, "after": after, "upto": upto})
    for account, version, created_at in rows.all():
        yield account, f"entry {version} is of {created_at} UTC, but was not there yet ({_named(time)})"


def _wanted(heads: list[Head]) -> dict[str, object]:
    return {"accounts": [head.account for head in heads], "versions": [head.version for head in heads]}


def _named(time: datetime) -> str:
    return f"digest of {time:%Y-%m-%d %H:%M:%S} UTC"


def _differences(then: Head, user: UUID | None, version: int | None, head: bytes | None, balance: int) -> Iterator[str]:
    """Yield a sentence for each thing that is not as it was."""
    if user is None:
        yield f"the account is gone, with {then.version} entries and {then.balance} credits"
        return
    if user != then.user:
        yield f"it was the account of user {then.user}, and is now of user {user}"
    if then.version == 0:
        return
    if head is None:
        yield f"entry {then.version} is gone: there were {then.version} entries, the account says {version}"
    elif head != then.head:
        yield f"entry {then.version}: it or one before it was written anew, its balance {then.balance} → {balance}"
