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
    """A balance, or an amount spent, that is not the sum of its entries."""

    name = "balances_are_sums"
    meaning = "Each account's balance, and what it has spent, are the sums of its ledger entries."
    checks = ("balance is the sum of the entries", "what was spent is the sum of debits and refunds")


class ChainsHold(_Books):
    """A gap between entries, or an entry that was changed."""

    name = "chains_hold"
    meaning = "Each ledger entry follows from the one before, and its hash from its content and the hash before."
    checks = (
        "every entry follows from the one before",
        "the account's version and head are those of its last entry",
        "the hash chain holds",
    )


class DebitedOnce(_Books):
    """A generation that was not debited, not at its price, or twice."""

    name = "debited_once"
    meaning = "Each generation was debited once, at its price, from its own account."
    checks = ("every generation was debited its price, once",)


class RefundedOnce(_Books):
    """A refund that is missing, or that is not due."""

    name = "refunded_once"
    meaning = "Each failed or canceled generation is refunded once, in full, and no other generation is."
    checks = ("failed and canceled generations are refunded, others are not",)


class RefundsMatchDebits(_Books):
    """A refund of something else than a debit of the same account and generation."""

    name = "refunds_match_debits"
    meaning = "Each refund gives back a debit of the same account and generation, and not more."
    checks = ("every refund gives back a debit of the same account and generation, and not more",)


class EntriesHaveTheirCause(_Books):
    """An entry whose generation is missing, or is somebody else's."""

    name = "entries_have_their_cause"
    meaning = "Each ledger entry's generation exists, and entry, generation and account belong to the same user."
    checks = (
        "every entry's generation exists and belongs to its account",
        "every generation's account belongs to its user",
    )


class AdjustmentsAreLogged(_Books):
    """An adjustment without a line in the administrators' log."""

    name = "adjustments_are_logged"
    meaning = "Each adjustment in the ledger has its line in the administrators' log, with the same amount and reason."
    checks = ("every adjustment has its line in the administrators' log",)


class GuardsAreInPlace(_Books):
    """A trigger, function or constraint of the books that is missing or was changed."""

    name = "guards_are_in_place"
    meaning = "The triggers, functions and constraints that keep the books are there, as the migrations have made them."
    checks = ("the guards are in place",)
