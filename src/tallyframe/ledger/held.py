"""The books held against a digest: whatever was there then must be there now, entry by entry.

The chain shows that entries follow from each other, but not that the last ones are still there, nor that it is the
same chain. A digest does: the entry of that version must still have that hash.
"""

import json
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.digest import BATCH, FORMAT
from tallyframe.ledger.found import Found

LONGEST_LINE = 4096  # bytes

_NOW = sa.text("""
    SELECT a.user_id, a.version, e.hash, e.balance_after
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:versions AS bigint[])) WITH ORDINALITY AS was (account, version, place)
    LEFT JOIN public.accounts a ON a.id = was.account
    LEFT JOIN public.ledger_entries e ON e.account_id = was.account AND e.version = was.version
    ORDER BY was.place""")


class NotADigest(Exception):
    """The file is no digest, or not the one that was written; the message says where."""


@dataclass(frozen=True, slots=True)
class Head:
    """An account as a digest has it."""

    account: UUID
    user: UUID
    version: int
    head: bytes
    balance: int  # credits


async def held_against(reader: Reader, path: Path) -> AsyncIterator[Found]:
    """Yield what of the digest in that file is not in the books any more, and what is wrong with the file itself.

    Holds one batch at a time.
    """
    try:
        opened = path.open("rb")
    except OSError as error:
        yield None, f"it can't be read: {error.strerror}"
        return
    with opened as file:
        lines = _lines(file)
        try:
            time = _time(next(lines, {}))
            heads = (_head(line) for line in lines)
            while batch := list(islice(heads, BATCH)):
                async for found in _compare(reader, time, batch):
                    yield found
        except NotADigest as error:
            yield None, str(error)


def _lines(file: BinaryIO) -> Iterator[dict[str, Any]]:
    """Yield the lines before the root; raise NotADigest if the root is not theirs."""
    running = sha256()
    while line := file.readline(LONGEST_LINE):
        values = _parsed(line)
        if "root" in values:
            if values["root"] != running.hexdigest() or file.read(1):
                raise NotADigest(f"its root is {values['root']}, but {running.hexdigest()} comes out: it was changed")
            return
        running.update(line)
        yield values
    raise NotADigest("it has no root: it is not whole")


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except ValueError:
        values = None
    if not isinstance(values, dict):
        raise NotADigest(f"it is no digest: {line[:40]!r}")
    return values


def _time(first: dict[str, Any]) -> datetime:
    if first.get("tallyframe_ledger_digest") != FORMAT:
        raise NotADigest("it does not begin like a digest of a format that is known here")
    try:
        return datetime.fromisoformat(first["time"]).astimezone(UTC)
    except (KeyError, TypeError, ValueError):
        raise NotADigest("it does not say of what time it is") from None


def _head(line: dict[str, Any]) -> Head:
    try:
        account, user = UUID(line["account"]), UUID(line["user"])
        return Head(account, user, int(line["version"]), bytes.fromhex(line["head"]), int(line["balance"]))
    except (KeyError, TypeError, ValueError, AttributeError):
        raise NotADigest(f"it has a line that is no account's: {json.dumps(line)[:80]}") from None


async def _compare(reader: Reader, time: datetime, heads: list[Head]) -> AsyncIterator[Found]:
    wanted = {"accounts": [head.account for head in heads], "versions": [head.version for head in heads]}
    for head, now in zip(heads, (await reader.execute(_NOW, wanted)).all(), strict=True):
        for words in _differences(head, *now):
            yield head.account, f"{words} (digest of {time:%Y-%m-%d %H:%M:%S} UTC)"


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
