"""A digest read from its file, line by line. The file may be forged: whatever is not as a digest must be is refused."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, BinaryIO
from uuid import UUID

from tallyframe.ledger.digest.writer import FORMAT

LONGEST_LINE = 4096  # bytes
_MOST = 2**63 - 1  # the greatest bigint
_COUNTED = ("accounts", "entries", "balance")


class NotADigest(Exception):
    """The file is no digest, or not the one that was written; the message says what is wrong."""


@dataclass(frozen=True, slots=True)
class Head:
    """An account as a digest has it."""

    account: UUID
    user: UUID
    version: int
    head: bytes
    balance: int  # credits


class DigestFile:
    """A digest's time, and then its heads; both raise NotADigest."""

    def __init__(self, file: BinaryIO, root: str | None = None) -> None:
        """`root` is what the file's root must be, if that is known."""
        self._lines = _lines(file, root)
        self._first = next(self._lines, {})
        if self._first.get("tallyframe_ledger_digest") != FORMAT:
            raise NotADigest(f"it does not begin like a digest of format {FORMAT}")
        try:
            time = datetime.fromisoformat(self._first["time"])
            self.time = time.astimezone(UTC)
        except (KeyError, TypeError, ValueError, OverflowError):
            raise NotADigest("its time is missing or no time") from None
        if time.tzinfo is None:
            raise NotADigest("its time has no time zone")

    def heads(self) -> Iterator[Head]:
        """Yield the accounts in the order of their ids, and compare them with the totals in the first line at the end.

        A root that fits is not enough: whoever has the file can take lines out and work out a new root.
        """
        totals = [_whole(self._first.get(name), least=-_MOST - 1) for name in _COUNTED]
        read, last = [0, 0, 0], None
        for head in map(_head, self._lines):
            if last and head.account <= last:
                raise NotADigest(f"its accounts are not in order: {head.account} comes after {last}")
            read, last = [read[0] + 1, read[1] + head.version, read[2] + head.balance], head.account
            yield head
        if read != totals:
            words = "{} accounts, {} entries and {} credits"
            raise NotADigest(f"it says {words.format(*totals)}, but its lines come to {words.format(*read)}")


def _lines(file: BinaryIO, root: str | None) -> Iterator[dict[str, Any]]:
    """Yield the lines before the root. Raise NotADigest if the root is not theirs, or not the expected one."""
    running = sha256()
    while line := file.readline(LONGEST_LINE):
        try:
            values = json.loads(line)
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, dict) or any(isinstance(value, dict | list) for value in values.values()):
            raise NotADigest(f"it is no digest: {line[:40]!r}")
        if "root" in values:
            computed = running.hexdigest()
            if values["root"] != computed or file.read(1):
                raise NotADigest(f"its root is {values['root']!a}, and should be {computed}: it was changed")
            if root not in {None, computed}:
                raise NotADigest(f"its root is {computed}, and not {root}: it is another digest, or was sealed again")
            return
        running.update(line)
        yield values
    raise NotADigest("it has no root: its end is missing")


def _head(line: dict[str, Any]) -> Head:
    try:
        account, user = UUID(line["account"]), UUID(line["user"])
        version, balance = _whole(line["version"]), _whole(line["balance"], least=-_MOST - 1)
        return Head(account, user, version, bytes.fromhex(line["head"]), balance)
    except (KeyError, TypeError, ValueError, AttributeError, NotADigest):
        raise NotADigest(f"one of its lines is no account: {json.dumps(line)[:80]}") from None


def _whole(value: object, *, least: int = 0) -> int:
    """Return the value if it is a number that a bigint can hold."""
    if type(value) is not int or not least <= value <= _MOST:
        raise NotADigest("its totals are not whole numbers")
    return value
