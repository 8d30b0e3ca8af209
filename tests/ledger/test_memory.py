"""However much there is to read or to complain about, little of it is held at a time."""

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tallyframe.commands.ledger import Audit
from tallyframe.ledger.verify import examine
from tests.ledger.conftest import Books
from tests.support.audited import digest_into, moment
from tests.support.checks import BEFORE, HASH
from tests.support.postings import falsify

MANY = 20_000
LITTLE = 4_000_000  # bytes; the sentences about MANY entries take three times as much

FORGED = f"""
    INSERT INTO ledger_entries (id, account_id, version, kind, amount, balance_after, reference, created_at, hash)
    SELECT gen_random_uuid(), '{{hers}}', 100 + 2 * n, 'grant', 1, 0, 'forged:' || n, now(), sha256('forged')
    FROM generate_series(1, {MANY}) AS n"""  # noqa: S608  # constants of ours
ACCOUNTS = [
    f"""INSERT INTO users (id, issuer, subject, display_name)
        SELECT gen_random_uuid(), 'local', 'many:' || n, 'one of many' FROM generate_series(1, {MANY}) AS n""",  # noqa: S608
    "INSERT INTO accounts (id, user_id) SELECT gen_random_uuid(), id FROM users WHERE subject LIKE 'many:%'",
]


@contextmanager
def little_is_held() -> Iterator[None]:
    """Expect the block never to hold much memory of Python's."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < LITTLE
    finally:
        tracemalloc.stop()


async def test_many_problems_are_told_one_by_one(books: Books) -> None:
    await falsify(books.connection, books.filled(FORGED))
    audit, told = Audit(), dict[str, int]()
    with little_is_held():
        async for line in audit.lines(books.db, [books.digest]):
            told[line[:5]] = told.get(line[:5], 0) + 1
    assert told["     "] == 2 * MANY + 2  # of each forged entry the place and the hash, and of the account sum and head
    assert not audit.is_well


async def test_many_problems_are_counted_and_few_are_given(books: Books) -> None:
    await falsify(books.connection, books.filled(FORGED))
    async with moment(books.db) as reader:
        with little_is_held():
            for name in (BEFORE, HASH):
                examined = await examine(reader, name, most=5)
                assert (examined.looked_at, examined.wrong, len(examined.problems)) == (MANY + 8, MANY, 5)


async def test_many_accounts_are_digested_and_held_against_it(books: Books, tmp_path: Path) -> None:
    for statement in ACCOUNTS:
        await books.connection.execute(statement)
    with little_is_held():
        digest = await digest_into(books.db, tmp_path / "many.jsonl")
    assert digest.stat().st_size > LITTLE / 2
    await falsify(books.connection, "DELETE FROM accounts WHERE version = 0")
    audit, gone = Audit(), 0
    with little_is_held():
        async for line in audit.lines(books.db, [digest]):
            gone += "the account is gone" in line
    assert gone == MANY
