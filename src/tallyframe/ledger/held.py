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
from tallyframe.ledger.digest import BATCH
from tallyframe.ledger.found import Found
from tallyframe.ledger.held_file import Head, HeldFile, NotADigest

_NOW = sa.text("""
    SELECT a.user_id, a.version, e.hash, e.balance_after
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:versions AS bigint[])) WITH ORDINALITY AS was (account, version, place)
    LEFT JOIN public.accounts a ON a.id = was.account
    LEFT JOIN public.ledger_entries e ON e.account_id = was.account AND e.version = was.version
    ORDER BY was.place""")


async def held_against(reader: Reader, path: Path, root: str | None = None) -> AsyncIterator[Found]:
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


async def _held(reader: Reader, digest: HeldFile) -> AsyncIterator[Found]:
    heads = digest.heads()
    while batch := list(islice(heads, BATCH)):
        async for found in _compare(reader, digest.time, batch):
            yield found


async def _compare(reader: Reader, time: datetime, heads: list[Head]) -> AsyncIterator[Found]:
    for head, now in zip(heads, (await reader.execute(_NOW, _wanted(heads))).all(), strict=True):
        for words in _differences(head, *now):
            yield head.account, f"{words} ({_named(time)})"


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
