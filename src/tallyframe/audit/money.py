"""Balances, chains, debits, refunds and guards, as the ledger's own checks find them."""

from typing import ClassVar

from tallyframe.audit.base import MOST, Example, Finding, Invariant, View
from tallyframe.ledger.snapshot import only_postgres
from tallyframe.ledger.verify import examine


class _Books(Invariant):
    """An invariant that is one or several of the ledger's checks."""

    checks: ClassVar[tuple[str, ...]]

    async def check(self, view: View) -> Finding:
        """Run the checks."""
        async with only_postgres(view.reader) as reader:
            examined = [await examine(reader, name, most=MOST) for name in self.checks]
        problems = [problem for each in examined for problem in each.problems]
        examples = [Example(str(problem.account_id or problem.check), problem.detail) for problem in problems]
        return Finding(max(each.looked_at for each in examined), sum(each.wrong for each in examined), examples[:MOST])


class BalancesAreSums(_Books):
    """`accounts.balance`."""

    name = "balances_are_sums"
    meaning = "Each account's balance is the sum of its ledger entries."
    checks = ("balance is the sum of the entries",)


class ChainsHold(_Books):
    """The order and the hashes of entries."""

    name = "chains_hold"
    meaning = "Each ledger entry follows from the one before, and its hash from its content and the hash before."
    checks = (
        "every entry follows from the one before",
        "the account's version and head are those of its last entry",
        "the hash chain holds",
    )


class DebitedOnce(_Books):
    """Each generation's debit."""

    name = "debited_once"
    meaning = "Each generation was debited once, at its price, from its own account."
    checks = ("every generation was debited its price, once",)


class RefundedOnce(_Books):
    """The refund of each that failed."""

    name = "refunded_once"
    meaning = "Each failed or canceled generation is refunded once, in full, and no other generation is."
    checks = ("failed and canceled generations are refunded, others are not",)


class RefundsMatchDebits(_Books):
    """What a refund gives back."""

    name = "refunds_match_debits"
    meaning = "Each refund gives back a debit of the same account and generation, and not more."
    checks = ("every refund gives back a debit of the same account and generation, and not more",)


class EntriesHaveTheirCause(_Books):
    """What an entry is for, and whose it is."""

    name = "entries_have_their_cause"
    meaning = "What a ledger entry is for is there, and entry, generation and account are the same user's."
    checks = (
        "every entry's generation exists and belongs to its account",
        "every generation's account belongs to its user",
    )


class AdjustmentsAreLogged(_Books):
    """Who gave or took credits by hand, and why."""

    name = "adjustments_are_logged"
    meaning = "Each adjustment in the ledger has its line in the administrators' log, with the same amount and reason."
    checks = ("every adjustment has its line in the administrators' log",)


class GuardsAreInPlace(_Books):
    """What refuses to change the books."""

    name = "guards_are_in_place"
    meaning = "The triggers, functions and constraints that keep the books are there, as the migrations have made them."
    checks = ("the guards are in place",)
