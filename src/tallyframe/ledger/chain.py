"""The hash chain, worked out again in Python, by none of the database's own functions.

The database's owner can replace the function with which the database makes the hashes. So every entry is read, in
batches, and hashed here from its columns. Postgres only writes UUIDs and times as text, by functions of its own, which
the owner can't replace. It reads the next batch while this one is hashed.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from hashlib import sha256
from json.encoder import encode_basestring as quoted  # the same escapes as Postgres' jsonb
from uuid import UUID

from asyncpg import Record

from tallyframe.db import Reader, fetch_records
from tallyframe.ledger.issue import Issue

BATCH = 2_000  # entries; two batches are held
_LOWEST = -(2**63)  # the least bigint

_ENTRIES = f"""
    SELECT account_id, version, hash, id::text, kind, amount, balance_after, generation_id::text,
           reverses_entry_id::text, reference, reason, trunc(extract(epoch FROM created_at) * 1000000)::text
    FROM public.ledger_entries AS e
    WHERE (e.account_id, e.version) > ($1, $2)
    ORDER BY e.account_id, e.version LIMIT {BATCH}"""  # noqa: S608  # a constant of ours


async def broken_links(reader: Reader) -> AsyncIterator[Issue]:
    """Read all entries by account and version, and yield each whose hash does not follow from its content."""
    before: Record | None = None
    batch = await fetch_records(reader, _ENTRIES, UUID(int=0), _LOWEST)
    while batch:
        last = batch[-1]
        following = fetch_records(reader, _ENTRIES, last["account_id"], last["version"])
        next_batch, broken = await asyncio.gather(following, broken_in(batch, before))  # the query is sent first
        for issue in broken:
            yield issue
        before, batch = last, next_batch


async def broken_in(batch: Sequence[Record], before: Record | None) -> list[Issue]:
    """Return what is wrong with the hashes of successive entries (rows of `_ENTRIES`); `before`: the one before them.

    A hash is SHA-256 over the hash before it and the entry's content, as an unambiguous JSON array.
    """
    broken = list[Issue]()
    account_id, previous = (before["account_id"], before["hash"] or b"") if before else (None, b"")
    account = str(account_id)
    for entry in batch:
        owner, version, digest, id_, kind, amount, balance, generation, reverses, reference, reason, time = entry
        if owner != account_id:
            account_id, account, previous = owner, str(owner), b""
        content = (
            f'["{id_}", "{account}", {version}, {quoted(kind)}, {amount}, {balance},'
            f" {'null' if generation is None else quoted(generation)},"
            f" {'null' if reverses is None else quoted(reverses)}, {quoted(reference)},"
            f" {'null' if reason is None else quoted(reason)}, {time}]"
        )
        if sha256(previous + content.encode()).digest() != digest:
            broken.append((owner, f"entry {version}: its hash does not match its content"))
        previous = digest or b""
    return broken
