"""The audit names every falsification, and the account that it was made on."""

from uuid import UUID

import pytest

from tallyframe.db import Database
from tallyframe.ledger.verify import CHECKS, examine, summary
from tests.support.audited import moment
from tests.support.checks import (
    BALANCE,
    BEFORE,
    BOUGHT,
    DEBIT,
    GUARDS,
    HASH,
    HEAD,
    LOGGED,
    REFUND,
    REFUNDED,
    SPENT,
    USER,
)
from tests.support.postings import Postings, falsify, put_guards_back, verdict

LATER = "UPDATE ledger_entries SET balance_after = balance_after + 1 WHERE account_id = '{hers}' AND version >= {at}"

#: What is done → the checks that must name it, at least.
FALSIFICATIONS: dict[str, tuple[list[str], set[str]]] = {
    "a balance is raised": (["UPDATE accounts SET balance = balance + 1 WHERE id = '{hers}'"], {BALANCE}),
    "an amount is changed": (["UPDATE ledger_entries SET amount = -4 WHERE {mine} AND version = 2"], {BEFORE, HASH}),
    "an amount is changed, and all sums with it": (
        [
            "UPDATE ledger_entries SET amount = amount + 1 WHERE {mine} AND version = 2",
            LATER.replace("{at}", "2"),
            "UPDATE accounts SET balance = balance + 1 WHERE id = '{hers}'",
        ],
        {HASH, DEBIT},
    ),
    "a grant is raised, and all sums with it": (
        [
            "UPDATE ledger_entries SET amount = amount + 1 WHERE {mine} AND version = 1",
            LATER.replace("{at}", "1"),
            "UPDATE accounts SET balance = balance + 1 WHERE id = '{hers}'",
        ],
        {HASH},
    ),
    "a grant is raised, with sums and its hash": (
        [
            "UPDATE ledger_entries SET amount = amount + 1 WHERE {mine} AND version = 1",
            LATER.replace("{at}", "1"),
            "UPDATE ledger_entries AS e SET hash = ledger_entry_hash(e, '') WHERE {mine} AND version = 1",
            "UPDATE accounts SET balance = balance + 1 WHERE id = '{hers}'",
        ],
        {HASH},
    ),
    "a balance_after is changed": (
        ["UPDATE ledger_entries SET balance_after = 0 WHERE {mine} AND version = 3"],
        {BEFORE, HASH},
    ),
    "an entry in the middle is deleted": (["DELETE FROM ledger_entries WHERE {mine} AND version = 2"], {BEFORE, HASH}),
    "the last entry is deleted": (["DELETE FROM ledger_entries WHERE {mine} AND version = 6"], {BALANCE, HEAD}),
    "the first entry is deleted": (["DELETE FROM ledger_entries WHERE {mine} AND version = 1"], {BEFORE, HASH}),
    "all entries are deleted": (
        ["DELETE FROM ledger_entries WHERE {mine}"],
        {BALANCE, HEAD, DEBIT},
    ),
    "a refund is deleted, and the account put right": (
        [
            "DELETE FROM ledger_entries WHERE {mine} AND kind = 'refund'",
            "UPDATE accounts SET balance = balance - 5, version = 5 WHERE id = '{hers}'",
            """UPDATE accounts AS a SET head = e.hash FROM ledger_entries AS e
               WHERE {mine} AND e.version = 5 AND a.id = '{hers}'""",
        ],
        {REFUNDED},
    ),
    "a hash in the middle is changed": (
        ["UPDATE ledger_entries SET hash = sha256('x') WHERE {mine} AND version = 3"],
        {HASH},
    ),
    "the last hash is changed": (
        ["UPDATE ledger_entries SET hash = sha256('x') WHERE {mine} AND version = 6"],
        {HASH, HEAD},
    ),
    "the head is changed": (["UPDATE accounts SET head = sha256('x') WHERE id = '{hers}'"], {HEAD}),
    "the version is changed": (["UPDATE accounts SET version = 7 WHERE id = '{hers}'"], {HEAD}),
    "a reference is changed": (
        ["UPDATE ledger_entries SET reference = 'other' WHERE {mine} AND version = 3"],
        {HASH},
    ),
    "a reason is changed": (["UPDATE ledger_entries SET reason = 'other' WHERE {mine} AND version = 5"], {HASH}),
    "a time is changed": (
        ["UPDATE ledger_entries SET created_at = created_at - interval '1 microsecond' WHERE {mine} AND version = 5"],
        {HASH},
    ),
    "two entries change places": (
        [
            "UPDATE ledger_entries SET version = -4 WHERE {mine} AND version = 4",
            "UPDATE ledger_entries SET version = 4 WHERE {mine} AND version = 3",
            "UPDATE ledger_entries SET version = 3 WHERE {mine} AND version = -4",
        ],
        {HASH},
    ),
    "a refund is moved to another debit": (
        [
            """UPDATE ledger_entries AS r SET reverses_entry_id = d.id FROM ledger_entries AS d
               WHERE r.account_id = '{hers}' AND r.kind = 'refund' AND d.account_id = '{hers}' AND d.version = 2""",
        ],
        {HASH, REFUND},
    ),
    "a refund is raised": (
        ["UPDATE ledger_entries SET amount = 6 WHERE {mine} AND kind = 'refund'"],
        {HASH, REFUND, BALANCE, REFUNDED},
    ),
    "an entry is moved to another account": (
        ["UPDATE ledger_entries SET account_id = '{his}', version = 9 WHERE {mine} AND version = 2"],
        {BALANCE, BEFORE, HASH, DEBIT},
    ),
    "a generation is made cheaper": (["UPDATE generations SET credits = 1 WHERE id = '{succeeded}'"], {DEBIT}),
    "a failed generation is called a success": (
        ["UPDATE generations SET status = 'succeeded', error_code = NULL WHERE id = '{failed}'"],
        {REFUNDED},
    ),
    "a success is called failed": (
        ["UPDATE generations SET status = 'failed', error_code = 'internal' WHERE id = '{succeeded}'"],
        {REFUNDED},
    ),
}


async def books(hers: Postings) -> dict[str, UUID]:
    """Write six entries: grant, debit (succeeded), grant, debit (failed), grant, refund of the failed one."""
    succeeded, _ = await hers.bought()
    await hers.post("grant", 3)
    failed, debit = await hers.bought(5, "failed")
    await hers.post("grant", 4)
    await hers.refund(failed, debit)
    return {"succeeded": succeeded, "failed": failed}


@pytest.mark.parametrize("what", FALSIFICATIONS)
async def test_the_audit_names_it(hers: Postings, his: Postings, db: Database, what: str) -> None:
    ids = await books(hers)
    assert await verdict(db) == {}
    statements, expected = FALSIFICATIONS[what]
    names = {"mine": f"account_id = '{hers.account}'", "hers": hers.account, "his": his.account, **ids}
    await falsify(hers.connection, *(statement.format(**names) for statement in statements))
    found = await verdict(db)
    assert set(found) >= expected, found
    for check in expected:
        accounts = {account for account, _ in found[check]}
        assert hers.account in accounts, f"{check} names {accounts}"
        assert all(detail for _, detail in found[check])
    if "another account" not in what:
        assert {account for problems in found.values() for account, _ in problems} == {hers.account}


async def test_the_audit_names_a_refund_of_a_success(hers: Postings, his: Postings, db: Database) -> None:
    """Not even posted in good order, while the guard that asks for the generation's end was away."""
    generation, debit = await hers.bought()
    assert await verdict(db) == {}
    await hers.connection.execute("ALTER TABLE ledger_entries DISABLE TRIGGER ledger_refund_is_due")
    await hers.refund(generation, debit)
    await put_guards_back(hers.connection)
    found = await verdict(db)
    assert set(found) == {REFUNDED}
    assert [account for account, _ in found[REFUNDED]] == [hers.account]
    assert str(generation) in found[REFUNDED][0][1]


@pytest.mark.parametrize(("kind", "check"), [("debit", DEBIT), ("refund", REFUNDED)])
async def test_what_was_posted_twice_is_named_with_its_generation(
    hers: Postings, his: Postings, db: Database, kind: str, check: str
) -> None:
    """By whoever took the index away: each of the two is right by itself."""
    generation, debit = await hers.bought(5, "failed" if kind == "refund" else "succeeded")
    if kind == "refund":
        await hers.refund(generation, debit)
    assert await verdict(db) == {}
    await hers.connection.execute(f"DROP INDEX uq_ledger_entries_one_{kind}_per_generation")
    await hers.connection.execute("ALTER TABLE ledger_entries DROP CONSTRAINT uq_ledger_entries_reverses_entry_id")
    if kind == "refund":
        await hers.refund(generation, debit, reference="again")
    else:
        await hers.post("debit", -5, generation_id=generation, reference="again")
    found = await verdict(db)
    assert set(found) == {check, GUARDS}
    [(account, detail)] = found[check]
    assert account == hers.account
    assert str(generation) in detail
    assert detail.endswith("in 2 entries")


async def test_an_adjustment_that_no_line_tells_of_is_named(hers: Postings, his: Postings, db: Database) -> None:
    await hers.post("adjustment", 1000)
    found = await verdict(db)
    assert set(found) == {LOGGED}
    assert found[LOGGED] == [(hers.account, "entry 2: an adjustment of 1000 without a line in the log")]


async def test_the_audit_counts(hers: Postings, his: Postings, db: Database) -> None:
    await books(hers)
    async with moment(db) as reader:
        total = await summary(reader)
    assert (total.accounts, total.entries, total.balance) == (2, 7, 20 - 5 + 3 - 5 + 4 + 5 + 20)
    assert list(CHECKS) == [BALANCE, SPENT, BEFORE, HEAD, REFUND, DEBIT, REFUNDED, LOGGED, BOUGHT, USER, HASH, GUARDS]


async def test_examining_says_how_much_was_looked_at(hers: Postings, his: Postings, db: Database) -> None:
    await books(hers)
    await falsify(hers.connection, "UPDATE ledger_entries SET reason = 'other' WHERE version < 4")
    async with db.reading() as reader:
        looked_at = {name: (await examine(reader, name)).looked_at for name in CHECKS}
        examined = await examine(reader, HASH, most=2)
        balances = await examine(reader, BALANCE)
    assert looked_at | {GUARDS: 0} == {
        **dict.fromkeys((BALANCE, SPENT, HEAD), 2),
        **dict.fromkeys((BEFORE, HASH), 7),
        **dict.fromkeys((DEBIT, REFUNDED, USER), 2),
        REFUND: 1,
        BOUGHT: 3,
        LOGGED: 0,
        GUARDS: 0,
    }
    assert (examined.wrong, len(examined.problems), examined.problems[0].check) == (4, 2, HASH)
    assert (balances.wrong, balances.problems) == (0, [])
