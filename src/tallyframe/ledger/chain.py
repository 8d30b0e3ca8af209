"""The hash chain, worked out again in Python: by another hand than the one that wrote it.

The database hashes with a function of its own, which its owner can replace. Nothing of that is asked here: every entry
is read, in batches, and hashed from its columns.
"""

from collections.abc import AsyncIterator
from hashlib import sha256
from json.encoder import encode_basestring  # the same escapes as Postgres' jsonb
from typing import Any
from uuid import UUID

import sqlalchemy as sa

from tallyframe.db import Reader

BATCH = 2_000  # entries
_LOWEST = -(2**63)  # of a bigint

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


async def broken_links(reader: Reader) -> AsyncIterator[tuple[UUID, str]]:
    """Read all entries and yield the account and a sentence for each whose hash is not that of its content."""
    account_id, previous = "", b""
    async for entry in _entries(reader):
        if entry[0] != account_id:
            account_id, previous = entry[0], b""
        if entry_hash(previous, entry) != entry[2]:
            yield UUID(account_id), f"entry {entry[1]}: its hash does not match its content"
        previous = entry[2] or b""


async def _entries(reader: Reader) -> AsyncIterator[Any]:
    """Yield all entries by account and version, holding one batch at a time."""
    after: dict[str, Any] = {"account_id": UUID(int=0), "version": _LOWEST}
    while batch := (await reader.execute(_ENTRIES, after)).all():
        for entry in batch:
            yield entry
        after = {"account_id": UUID(batch[-1][0]), "version": batch[-1][1]}
