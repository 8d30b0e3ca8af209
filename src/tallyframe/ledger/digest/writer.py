"""A digest: what the books say at one moment, in a file for a place that the database can't reach.

JSON lines, in the order of account ids, as long as there are accounts:

    {"tallyframe_ledger_digest": 1, "time": …, "schema": "0008", "accounts": 2, "entries": 9, "balance": 40}
    {"account": …, "user": …, "version": 5, "head": "9f…", "balance": 20}
    {"root": "4c…"}

`version` counts an account's entries, `head` is the hash of the last one and so stands for all before it. The root is
the SHA-256 of all lines before its own: `head -n -1 FILE | sha256sum`.
"""

import json
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, BinaryIO

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.checks import TOTALS

FORMAT = 1
BATCH = 1_000  # accounts

_MOMENT = sa.text("SELECT transaction_timestamp(), version_num FROM public.alembic_version")
_HEADS = sa.text("""
    SELECT a.id::text, a.user_id::text, a.version, encode(a.head, 'hex'), a.balance
    FROM public.accounts AS a ORDER BY a.id""")


@dataclass(frozen=True, slots=True)
class Digest:
    """A digest's first and last line."""

    time: datetime  # of the moment, by the database's clock
    schema: str  # the revision of the migrations
    accounts: int
    entries: int
    balance: int  # credits over all accounts
    root: str  # 64 hexadecimal digits


async def write_digest(reader: Reader, file: BinaryIO | None) -> Digest:
    """Write the digest of all heads, holding one batch at a time; without a file, only work it out.

    `reader` must be a snapshot.
    """
    time, schema = (await reader.execute(_MOMENT)).one()
    accounts, entries, balance = (await reader.execute(sa.text(TOTALS))).one()
    counts = {"accounts": accounts, "entries": entries, "balance": int(balance)}
    running = sha256()
    first = {"tallyframe_ledger_digest": FORMAT, "time": time.isoformat(), "schema": schema, **counts}
    _write(file, running, _line(first))
    async for batch in _heads(reader):
        _write(file, running, b"".join(batch))
    if file:
        file.write(_line({"root": running.hexdigest()}))
    return Digest(time, schema, **counts, root=running.hexdigest())


def _write(file: BinaryIO | None, running: Any, lines: bytes) -> None:  # noqa: ANN401  # hashlib has no name for it
    running.update(lines)
    if file:
        file.write(lines)


def _line(values: dict[str, object]) -> bytes:
    return f"{json.dumps(values)}\n".encode()


async def _heads(reader: Reader) -> AsyncIterator[Iterable[bytes]]:
    async with reader.stream(_HEADS, execution_options={"max_row_buffer": BATCH}) as rows:
        async for batch in rows.partitions(BATCH):
            yield (
                f'{{"account": "{account}", "user": "{user}", "version": {version}, "head": "{head}",'
                f' "balance": {balance}}}\n'.encode()
                for account, user, version, head, balance in batch
            )
