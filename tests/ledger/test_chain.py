"""The chain worked out again in Python: what Postgres hashes is what Python hashes, whatever is written in an entry."""

import json
from hashlib import sha256

import pytest

from tallyframe.db import Database
from tallyframe.ids import new_id
from tallyframe.ledger.chain import BATCH, broken_links
from tests.support.audited import moment
from tests.support.postings import Postings, falsify

EVERY_CHARACTER = "".join(map(chr, range(1, 0x20))) + '"\\/\x7f\x80\u2028\u2029é中\U0001f600\ufffe'
NASTY = [EVERY_CHARACTER, "null", "", '", "', "\\u0041", "'%s {0} ", "e\u0301"]

#: Column → another value for an entry that refunds.
FORGED = {
    "id": "gen_random_uuid()",
    "account_id": "'{his}'",
    "version": "version + 100",
    "kind": "'grant'",
    "amount": "amount + 1",
    "balance_after": "balance_after + 1",
    "generation_id": "NULL",
    "reverses_entry_id": "NULL",
    "reference": "reference || ' '",
    "reason": "NULL",
    "created_at": "created_at + interval '1 microsecond'",
    "hash": "set_byte(hash, 31, get_byte(hash, 31) # 1)",
}


GRANT = "INSERT INTO ledger_entries (id, account_id, kind, amount, reference) VALUES ($1, $2, 'grant', 1, $3)"


async def broken(db: Database) -> list[tuple[object, str]]:
    async with moment(db) as reader:
        return [issue async for issue in broken_links(reader)]


@pytest.mark.parametrize("text", NASTY)
async def test_postgres_hashes_the_text_that_python_makes(hers: Postings, db: Database, text: str) -> None:
    entry = await hers.post("grant", 1, reference=f"nasty:{text}")
    adjusted = await hers.post("adjustment", -1, reference=text or "empty", reason=text or None)
    for each in (entry, adjusted):
        row = await hers.connection.fetchrow("""
            SELECT e.*, p.hash AS previous, (extract(epoch FROM e.created_at) * 1000000)::bigint AS microseconds
            FROM ledger_entries AS e JOIN ledger_entries AS p
                 ON p.account_id = e.account_id AND p.version = e.version - 1
            WHERE e.id = $1""", each)  # fmt: skip
        columns = ("id", "account_id", "version", "kind", "amount", "balance_after", "generation_id")
        more = ("reverses_entry_id", "reference", "reason", "microseconds")
        content = json.dumps([row[name] for name in (*columns, *more)], ensure_ascii=False, default=str)
        assert row["hash"] == sha256(row["previous"] + content.encode()).digest()
    assert await broken(db) == []


@pytest.mark.parametrize("column", FORGED)
async def test_a_forged_column_is_found(hers: Postings, his: Postings, db: Database, column: str) -> None:
    generation, debit = await hers.bought(5, "failed")
    refund = await hers.refund(generation, debit)
    assert await broken(db) == []
    constraints = await hers.connection.fetch(
        "SELECT conname FROM pg_constraint WHERE conrelid = 'ledger_entries'::regclass AND contype = 'c'"
    )
    value = FORGED[column].format(his=his.account)
    await falsify(
        hers.connection,
        *(f"ALTER TABLE ledger_entries DROP CONSTRAINT {name}" for (name,) in constraints),
        f"UPDATE ledger_entries SET {column} = {value} WHERE id = '{refund}'",  # noqa: S608  # constants of ours
    )
    version = 103 if column == "version" else 3
    owner = his.account if column == "account_id" else hers.account
    assert await broken(db) == [(owner, f"entry {version}: its hash does not match its content")]


async def test_every_column_is_forged(hers: Postings) -> None:
    columns = await hers.connection.fetch(
        "SELECT attname FROM pg_attribute WHERE attrelid = 'ledger_entries'::regclass AND attnum > 0"
    )
    assert {name for (name,) in columns} == FORGED.keys()


async def test_the_chain_goes_on_from_batch_to_batch(hers: Postings, his: Postings, db: Database) -> None:
    """Accounts end within a batch, and entries on both sides of a batch's end are looked at."""
    for account in (hers.account, his.account):
        grants = [(new_id(), account, f"{account}:{number}") for number in range(2, BATCH + 6)]
        await hers.connection.executemany(GRANT, grants)
    assert await broken(db) == []
    first = min(hers.account, his.account)
    at = [1, BATCH, BATCH + 1, BATCH + 5]
    await falsify(
        hers.connection,
        f"UPDATE ledger_entries SET reason = 'forged' WHERE account_id = '{first}' AND version = ANY ('{set(at)}')",  # noqa: S608  # ours
    )
    assert await broken(db) == [(first, f"entry {version}: its hash does not match its content") for version in at]
