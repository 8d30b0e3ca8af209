"""The hash chain, worked out again in Python, by none of the database's own functions.

The database's owner can replace the function with which the database makes the hashes. So every entry is read, in
batches, and hashed here from its columns.
"""

from collections.abc import AsyncIterator
from hashlib import sha256
from json.encoder import encode_basestring  # the same escapes as Postgres' jsonb
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Reader
from tallyframe.ledger.issue import Issue

BATCH = 2_000  # entries
_LOWEST = -(2**63)  # the least bigint

_ENTRIES = sa.text("""
    SELECT account_id::text, version, hash, id::text, kind, amount, balance_after, generation_id::text,
           reverses_entry_id::text, reference, reason, trunc(extract(epoch FROM created_at) * 1000000)::text
    FROM public.ledger_entries AS e
    WHERE (e.account_id, e.version) > (:account_id, :version)
    ORDER BY e.account_id, e.version LIMIT :batch""").bindparams(
    sa.bindparam("account_id", type_=sa.Uuid()), sa.bindparam("version", type_=sa.BigInteger()), batch=BATCH
)


def entry_hash(previous: bytes, entry: Any) -> bytes:  # noqa: ANN401  # a row of `_ENTRIES`
    """Return the SHA-256 over the hash before it and the entry's content, as an unambiguous JSON array."""
    account_id, version, _, id_, kind, amount, balance, generation_id, reverses, reference, reason, microseconds = entry
    content = (
        f'["{id_}", "{account_id}", {version}, {_quoted(kind)}, {amount}, {balance},'
        f" {_quoted(generation_id)}, {_quoted(reverses)}, {_quoted(reference)}, {_quoted(reason)}, {microseconds}]"
    )
    return sha256(previous + content.encode()).digest()


def _quoted(text: str | None) -> str:
    return "null" if text is None else encode_basestring(text)


async def broken_links(reader: Reader) -> AsyncIterator[Issue]:
    """Read all entries by account and version, and yield each whose hash does not follow from its content.

    Holds one batch at a time.
    """
    account_id, previous = "", b""
    last_read: dict[str, Any] = {"account_id": UUID(int=0), "version": _LOWEST}
    while batch := (await reader.execute(_ENTRIES, last_read)).all():
        for entry in batch:
            if entry.account_id != account_id:
                account_id, previous = entry.account_id, b""
            if entry_hash(previous, entry) != entry.hash:
                yield UUID(account_id), f"entry {entry.version}: its hash does not match its content"
            previous = entry.hash or b""
        last_read = {"account_id": UUID(account_id), "version": batch[-1].version}
