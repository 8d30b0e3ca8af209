"""A digest: what the books say at one moment, for a file that the database's administrators can't reach.

JSON lines, one per account in the order of their ids, between a first and a last line:

    {"tallyframe_ledger_digest": 1, "time": …, "schema": "0008", "accounts": 2, "entries": 9, "balance": 40}
    {"account": …, "user": …, "version": 5, "head": "9f…", "balance": 20}
    {"root": "4c…"}

`version` counts an account's entries; `head` is the hash of the last one, and so covers all before it. The root is the
SHA-256 of all lines before its own: `head -n -1 FILE | sha256sum`.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import BinaryIO

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.checks import TOTALS
from tallyframe.migrate import read_revision

FORMAT = 1
BATCH = 1_000  # accounts

_MOMENT = sa.text("SELECT transaction_timestamp()")
_HEADS = sa.text("""
    SELECT a.id::text, a.user_id::text, a.version, encode(a.head, 'hex'), a.balance
    FROM public.accounts AS a ORDER BY a.id""")
_LINE = '{"account": "%s", "user": "%s", "version": %d, "head": "%s", "balance": %d}\n'  # quicker than json.dumps


@dataclass(frozen=True, slots=True)
class Digest:
    """What a digest's first and last line say."""

    time: datetime  # of the moment, by the database's clock
    schema: str | None  # the revision of the migrations
    accounts: int
    entries: int
    balance: int  # credits over all accounts
    root: str  # 64 hexadecimal digits


async def write_digest(reader: Reader, file: BinaryIO | None) -> Digest:
    """Write the digest of all heads, holding one batch at a time; without a file, only work it out.

    `reader` must be a snapshot.
    """
    time = (await reader.execute(_MOMENT)).scalar_one()
    schema = (await read_revision(reader.execute)).found
    accounts, entries, balance = (await reader.execute(sa.text(TOTALS))).one()
    counts = {"accounts": accounts, "entries": entries, "balance": int(balance)}
    running = sha256()

    def write(lines: str) -> None:
        running.update(lines.encode())
        if file:
            file.write(lines.encode())

    first = {"tallyframe_ledger_digest": FORMAT, "time": time.isoformat(), "schema": schema, **counts}
    write(json.dumps(first) + "\n")
    async with reader.stream(_HEADS, execution_options={"max_row_buffer": BATCH}) as rows:
        async for batch in rows.partitions(BATCH):
            write("".join(_LINE % tuple(head) for head in batch))
    root = running.hexdigest()
    write(json.dumps({"root": root}) + "\n")
    return Digest(time, schema, **counts, root=root)
