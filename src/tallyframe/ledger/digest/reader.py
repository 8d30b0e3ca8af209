"""A digest read from its file, line by line. Whoever wrote it may mean harm: what is not as it must be is refused."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from typing import Any, BinaryIO
from uuid import UUID

from tallyframe.ledger.digest.writer import FORMAT

LONGEST_LINE = 4096  # bytes
_MOST = 2**63 - 1  # of a bigint
_COUNTED = ("accounts", "entries", "balance")


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


class HeldFile:
    """A digest's time, and then its heads; both raise NotADigest."""

    def __init__(self, file: BinaryIO, root: str | None = None) -> None:
        """`root` is what its root must be, if that is known."""
        self._lines = _lines(file, root)
        self._first = next(self._lines, {})
        self.time = _time(self._first)

    def heads(self) -> Iterator[Head]:
        """Yield the accounts in the order of their ids; at the end, see that they are those that the first line counts.

        The seal alone shows nothing: whoever has the file can take lines out and seal it again.
        """
        said = [_whole(self._first.get(name), least=-_MOST - 1) for name in _COUNTED]
        read, last = [0, 0, 0], None
        for head in map(_head, self._lines):
            if last and head.account <= last:
                raise NotADigest(f"its accounts are not in order: {head.account} comes after {last}")
            read, last = [read[0] + 1, read[1] + head.version, read[2] + head.balance], head.account
            yield head
        if read != said:
            raise NotADigest(f"it says {_told(said)}, but its lines come to {_told(read)}")


def _told(counts: list[int]) -> str:
    return "{} accounts, {} entries and {} credits".format(*counts)


def _lines(file: BinaryIO, root: str | None) -> Iterator[dict[str, Any]]:
    """Yield the lines before the root; raise NotADigest if the root is not theirs, or not the one that is wanted."""
    running = sha256()
    while line := file.readline(LONGEST_LINE):
        values = _parsed(line)
        if "root" in values:
            comes_out = running.hexdigest()
            if values["root"] != comes_out or file.read(1):
                raise NotADigest(f"its root is {values['root']!a}, but {comes_out} comes out: it was changed")
            if root not in {None, comes_out}:
                raise NotADigest(f"its root is {comes_out}, and not {root}: it is another one, or was sealed again")
            return
        running.update(line)
        yield values
    raise NotADigest("it has no root: it is not whole")


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, dict) or any(isinstance(value, dict | list) for value in values.values()):
        raise NotADigest(f"it is no digest: {line[:40]!r}")
    return values


def _time(first: dict[str, Any]) -> datetime:
    if first.get("tallyframe_ledger_digest") != FORMAT:
        raise NotADigest("it does not begin like a digest of a format that is known here")
    try:
        time = datetime.fromisoformat(first["time"])
        in_utc = time.astimezone(UTC)
    except (KeyError, TypeError, ValueError, OverflowError):
        raise NotADigest("it does not say of what time it is") from None
    if time.tzinfo is None:
        raise NotADigest("it does not say of what time it is, in which zone")
    return in_utc


def _head(line: dict[str, Any]) -> Head:
    try:
        account, user = UUID(line["account"]), UUID(line["user"])
        version, balance = _whole(line["version"]), _whole(line["balance"], least=-_MOST - 1)
        return Head(account, user, version, bytes.fromhex(line["head"]), balance)
    except (KeyError, TypeError, ValueError, AttributeError, NotADigest):
        raise NotADigest(f"it has a line that is no account's: {json.dumps(line)[:80]}") from None


def _whole(value: object, *, least: int = 0) -> int:
    """Return the value if it is a number that a bigint can hold."""
    if type(value) is not int or not least <= value <= _MOST:
        raise NotADigest("it does not say of how much it is")
    return value
