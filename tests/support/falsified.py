"""Ten ways and more to falsify the books, as statements, and what must name each when nothing refuses it."""

from dataclasses import dataclass, field

from tests.support.checks import (
    BALANCE,
    BEFORE,
    BOUGHT,
    DEBIT,
    DIGEST,
    HASH,
    HEAD,
    REFUND,
    REFUNDED,
    SPENT,
    USER,
)


@dataclass(frozen=True)
class Falsification:
    """Statements, the checks that name what they did, and how often an account must be named by them."""

    statements: tuple[str, ...]
    named_by: frozenset[str]
    words: str = field(default="")  # that one of the lines must hold


#: Follows the chain anew, with sums and hashes as the trigger would have made them, and puts the account right.
REWRITE = """
    DO $$ DECLARE entry record; previous bytea := ''; total bigint := 0; latest bigint := 0; BEGIN
        FOR entry IN SELECT * FROM ledger_entries WHERE account_id = '{hers}' ORDER BY version LOOP
            total := total + entry.amount;
            latest := entry.version;
            UPDATE ledger_entries SET balance_after = total WHERE id = entry.id;
            UPDATE ledger_entries AS e SET hash = ledger_entry_hash(e, previous) WHERE id = entry.id
                RETURNING hash INTO previous;
        END LOOP;
        UPDATE accounts SET balance = total, version = latest, head = previous, spent = -(
            SELECT coalesce(sum(amount), 0) FROM ledger_entries
            WHERE account_id = '{hers}' AND kind IN ('debit', 'refund')
        ) WHERE id = '{hers}';
    END $$"""
FORGED_GRANT = """
    INSERT INTO ledger_entries (id, account_id, version, kind, amount, balance_after, reference, created_at, hash)
    SELECT gen_random_uuid(), '{hers}', 8, 'grant', 1000, balance + 1000, 'forged', now(), sha256('forged')
    FROM accounts WHERE id = '{hers}'"""
FORGED_REFUND = """
    INSERT INTO ledger_entries (id, account_id, version, kind, amount, balance_after, generation_id, reverses_entry_id,
                                reference, created_at, hash)
    SELECT gen_random_uuid(), account_id, 8, 'refund', 500, 1000, generation_id, id, 'forged', now(), sha256('forged')
    FROM ledger_entries WHERE {mine} AND version = 2"""


def _by(*checks: str) -> frozenset[str]:
    return frozenset(checks)


#: Her entries 1 to 7: grant, debit (succeeded), grant, debit (failed), grant, refund (of 4), grant. His one: grant.
FALSIFICATIONS: dict[str, Falsification] = {
    "an amount is changed": Falsification(
        ("UPDATE ledger_entries SET amount = 5000 WHERE {mine} AND version = 3",),
        _by(BALANCE, BEFORE, HASH),
        "entry 3:",
    ),
    "an entry in the middle is deleted": Falsification(
        ("DELETE FROM ledger_entries WHERE {mine} AND version = 3",), _by(BALANCE, BEFORE, HASH), "entry 4:"
    ),
    "the last entry is deleted": Falsification(
        ("DELETE FROM ledger_entries WHERE {mine} AND version = 7",), _by(BALANCE, HEAD, DIGEST), "entry 7 is gone"
    ),
    "the last entry is deleted, and the account put right": Falsification(
        ("DELETE FROM ledger_entries WHERE {mine} AND version = 7", REWRITE), _by(DIGEST), "entry 7 is gone"
    ),
    "all entries are truncated": Falsification(
        ("TRUNCATE ledger_entries",), _by(BALANCE, SPENT, HEAD, DEBIT, REFUNDED, DIGEST), "entry 7 is gone"
    ),
    "all is truncated": Falsification(
        ("TRUNCATE accounts CASCADE",), _by(DIGEST), "the account is gone, with 7 entries"
    ),
    "a grant is made up": Falsification((FORGED_GRANT,), _by(BALANCE, HEAD, HASH), "entry 8:"),
    "a refund is made up": Falsification(
        (FORGED_REFUND,), _by(BALANCE, SPENT, BEFORE, HEAD, HASH, REFUND, REFUNDED), "entry 8:"
    ),
    "a time is changed": Falsification(
        ("UPDATE ledger_entries SET created_at = created_at - interval '1 day' WHERE {mine} AND version = 3",),
        _by(HASH),
        "entry 3:",
    ),
    "a time is made endless": Falsification(
        ("UPDATE ledger_entries SET created_at = 'infinity' WHERE {mine} AND version = 3",), _by(HASH), "entry 3:"
    ),
    "a reason is changed": Falsification(
        ("UPDATE ledger_entries SET reason = NULL WHERE {mine} AND version = 3",), _by(HASH), "entry 3:"
    ),
    "a reference is changed": Falsification(
        ("UPDATE ledger_entries SET reference = 'other' WHERE {mine} AND version = 3",), _by(HASH), "entry 3:"
    ),
    "an entry is moved to another account": Falsification(
        ("UPDATE ledger_entries SET account_id = '{his}', version = 2 WHERE {mine} AND version = 7",),
        _by(BALANCE, BEFORE, HEAD, HASH, DIGEST),
        "entry 7 is gone",
    ),
    "a balance is changed": Falsification(
        ("UPDATE accounts SET balance = balance + 1000 WHERE id = '{hers}'",), _by(BALANCE), "balance 1"
    ),
    "what was spent is changed": Falsification(
        ("UPDATE accounts SET spent = 0 WHERE id = '{hers}'",), _by(SPENT), "spent 0, debits and refunds sum to"
    ),
    "an account is given to somebody else": Falsification(
        ("UPDATE accounts SET user_id = '{thief}' WHERE id = '{hers}'",), _by(USER, DIGEST), "{thief}"
    ),
    "two entries change places": Falsification(
        (
            "UPDATE ledger_entries SET version = 99 WHERE {mine} AND version = 3",
            "UPDATE ledger_entries SET version = 3 WHERE {mine} AND version = 5",
            "UPDATE ledger_entries SET version = 5 WHERE {mine} AND version = 99",
        ),
        _by(BEFORE, HASH),
        "entry 3:",
    ),
    "the whole chain is written anew": Falsification(
        ("UPDATE ledger_entries SET amount = 5000 WHERE {mine} AND version = 3", REWRITE), _by(DIGEST), "entry 7:"
    ),
    "an account goes with all its entries": Falsification(
        ("DELETE FROM ledger_entries WHERE account_id = '{his}'", "DELETE FROM accounts WHERE id = '{his}'"),
        _by(DIGEST),
        "account {his}: the account is gone, with 1 entries and 20 credits",
    ),
    "amounts are the least and the most there are": Falsification(
        (
            "UPDATE ledger_entries SET amount = -9223372036854775808 WHERE {mine} AND version IN (2, 4)",
            "UPDATE ledger_entries SET amount = 9223372036854775807 WHERE {mine} AND version = 3",
        ),
        _by(BALANCE, SPENT, BEFORE, HASH, DEBIT),
        "entry 2:",
    ),
    "a version is the least there is": Falsification(
        ("UPDATE ledger_entries SET version = -9223372036854775808 WHERE {mine} AND version = 7",),
        _by(BEFORE, HEAD, HASH, DIGEST),
        "entry 7 is gone",
    ),
    "a debit and its generation are made cheaper": Falsification(
        (
            "UPDATE ledger_entries SET amount = -1 WHERE {mine} AND version = 2",
            "UPDATE generations SET credits = 1 WHERE id = '{succeeded}'",
            REWRITE,
        ),
        _by(DIGEST),
        "entry 7:",
    ),
    "a price is lowered": Falsification(
        ("UPDATE generations SET credits = 0 WHERE id = '{succeeded}'",), _by(DEBIT), "{succeeded} costs 0, debited 5"
    ),
    "a success is called a failure": Falsification(
        ("UPDATE generations SET status = 'failed', error_code = 'internal' WHERE id = '{succeeded}'",),
        _by(REFUNDED),
        "{succeeded} is failed, refunded 0 of 5",
    ),
    "a failure is called a success": Falsification(
        ("UPDATE generations SET status = 'succeeded', error_code = NULL WHERE id = '{failed}'",),
        _by(REFUNDED),
        "{failed} is succeeded, refunded 5 of 5",
    ),
    "a generation goes to somebody else": Falsification(
        ("UPDATE generations SET user_id = '{thief}', account_id = '{his}' WHERE id = '{succeeded}'",),
        _by(DEBIT, BOUGHT, USER),
        "there is no generation {succeeded} of this account",
    ),
}

#: A refund that isn't due, and the same with the end changed first: then the books would add up.
UNDUE = """
    INSERT INTO ledger_entries (id, account_id, kind, amount, generation_id, reverses_entry_id, reference)
    SELECT gen_random_uuid(), account_id, 'refund', 5, generation_id, id, reference
    FROM ledger_entries WHERE {mine} AND version = 2"""
UNDUE_REFUNDS: dict[str, tuple[str, ...]] = {
    "a success is refunded": (UNDUE,),
    "a success is called a failure and refunded": (
        "UPDATE generations SET status = 'failed', error_code = 'internal' WHERE id = '{succeeded}'",
        UNDUE,
    ),
    "a success is ordered once more, to be canceled": (
        "UPDATE generations SET status = 'pending', finished_at = NULL WHERE id = '{succeeded}'",
    ),
}
