"""The audit names every falsification, and the account that it was made on."""

from uuid import UUID

import pytest

from tallyframe.administer import verify_ledger
from tallyframe.db import Database
from tests.support.postings import Postings, falsify, verdict

BALANCE = "balance is the sum of the entries"
CHAIN = "every entry follows from the one before"
HEAD = "the account's version and head are those of its last entry"
HASH = "the hash chain holds"
REFUND = "every refund gives back a debit of the same account and generation, and not more"
DEBIT = "every generation was debited its price, once"
REFUNDED = "failed and canceled generations are refunded, others are not"

LATER = "UPDATE ledger_entries SET balance_after = balance_after + 1 WHERE account_id = '{hers}' AND version >= {at}"

#: What is done → the checks that must name it, at least.
FALSIFICATIONS: dict[str, tuple[list[str], set[str]]] = {
    "a balance is raised": (["UPDATE accounts SET balance = balance + 1 WHERE id = '{hers}'"], {BALANCE}),
    "an amount is changed": (["UPDATE ledger_entries SET amount = -4 WHERE {mine} AND version = 2"], {CHAIN, HASH}),
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
        {CHAIN, HASH},
    ),
    "an entry in the middle is deleted": (["DELETE FROM ledger_entries WHERE {mine} AND version = 2"], {CHAIN, HASH}),
    "the last entry is deleted": (["DELETE FROM ledger_entries WHERE {mine} AND version = 6"], {BALANCE, HEAD}),
    "the first entry is deleted": (["DELETE FROM ledger_entries WHERE {mine} AND version = 1"], {CHAIN, HASH}),
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
        {BALANCE, CHAIN, HASH, DEBIT},
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
    """The trigger lets it through, because only the generation's end says whether a refund is due."""
    generation, debit = await hers.bought()
    assert await verdict(db) == {}
    await hers.refund(generation, debit)
    found = await verdict(db)
    assert set(found) == {REFUNDED}
    assert [account for account, _ in found[REFUNDED]] == [hers.account]
    assert str(generation) in found[REFUNDED][0][1]


async def test_the_audit_counts(hers: Postings, his: Postings, db: Database) -> None:
    await books(hers)
    summary, checks = await verify_ledger(db)
    assert (summary.accounts, summary.entries, summary.balance) == (2, 7, 20 - 5 + 3 - 5 + 4 + 5 + 20)
    assert [name for name, _ in checks] == [BALANCE, CHAIN, HEAD, HASH, REFUND, DEBIT, REFUNDED]
