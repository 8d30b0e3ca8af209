"""Checks of the money, computed from the rows alone.

Each check yields a line per comparison (see `chaos/compared.py`).
"""

from collections import defaultdict
from collections.abc import Iterator

from chaos.compared import expect
from chaos.evidence import Evidence, Row

REFUNDED = ("failed", "canceled")


def no_credit_is_unaccounted_for(evidence: Evidence) -> Iterator[str]:
    """Per account: granted, less charged, plus refunded, is the balance. Others than clients are only granted."""
    balances = {row["id"]: row["balance"] for row in evidence.accounts}
    moved = _by(evidence.entries, "account_id")
    for user in evidence.users:
        of_kind: defaultdict[str, int] = defaultdict(int)
        for entry in moved[user.account_id]:
            of_kind[entry["kind"]] += entry["amount"]
        expected = user.granted + of_kind["debit"] + of_kind["refund"]
        there, who = balances.get(user.account_id), f"client {user.client}"
        yield expect(there == expected, f"{who} has {there} credits, and {expected} come out")
        is_all = of_kind["grant"] == user.granted and not set(of_kind) - {"grant", "debit", "refund"}
        yield expect(is_all, f"{who} was granted {user.granted}, but the ledger says {dict(of_kind)}")
    for account in balances.keys() - {user.account_id for user in evidence.users}:
        expected = sum(entry["amount"] for entry in moved[account] if entry["kind"] == "grant")
        there = balances[account]
        yield expect(there == expected, f"account {account} has {there} credits, and {expected} come out")


def one_debit_each(evidence: Evidence) -> Iterator[str]:
    """Every generation was debited once, at its price, from its user's account; there are no other debits."""
    debits = _by([entry for entry in evidence.entries if entry["kind"] == "debit"], "generation_id")
    accounts = {user.user_id: user.account_id for user in evidence.users}
    for row in evidence.generations:
        found = [(entry["amount"], entry["account_id"]) for entry in debits.pop(row["id"], [])]
        price = evidence.prices.get(row["operation"], 0)
        words = f"generation {row['id']} costs {price}, and was debited {[amount for amount, _ in found]}"
        yield expect(found == [(-price, accounts.get(row["user_id"]))], words)
    for generation in debits:
        yield f"there is a debit for a generation {generation} that is not there"


def one_refund_each(evidence: Evidence) -> Iterator[str]:
    """A failed or canceled generation was refunded once and in full; there are no other refunds."""
    refunds = _by([entry for entry in evidence.entries if entry["kind"] == "refund"], "generation_id")
    for row in evidence.generations:
        found = [entry["amount"] for entry in refunds.pop(row["id"], [])]
        expected = [row["credits"]] if row["status"] in REFUNDED else []
        words = f"generation {row['id']} is {row['status']}, costs {row['credits']}, and was refunded {found}"
        yield expect(found == expected, words)
    for generation in refunds:
        yield f"there is a refund for a generation {generation} that is not there"


def the_audit_agrees(evidence: Evidence) -> Iterator[str]:
    """`tallyframe ledger verify` finds nothing."""
    code, printed = evidence.audit
    if evidence.entries:
        yield expect(code == 0, f"exit code {code}: {printed.strip()[-500:]}")


def _by(rows: list[Row], column: str) -> defaultdict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for row in rows:
        found[row[column]].append(row)
    return found
