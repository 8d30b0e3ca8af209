"""The verdict: every check over the evidence. Pure, so that tampered evidence can show that each of them bites."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chaos import books, promises, purchases
from chaos.evidence import Evidence


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check: what must hold, about how many things it is, and a sentence for each violation."""

    name: str
    looked_at: int
    problems: list[str]

    @property
    def is_ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems


_Check = Callable[[Evidence], Iterator[str]]

#: What must hold, what it is counted in, and the check.
CHECKS: dict[str, tuple[str, _Check]] = {
    "no acknowledged project is lost": ("projects", promises.no_project_is_lost),
    "no acknowledged generation is lost": ("generations", promises.no_generation_is_lost),
    "no generation is unfinished": ("generations", promises.everything_has_ended),
    "what was told to be final is final": ("generations", promises.final_is_final),
    "deleted, published and canceled are so": ("history", promises.what_was_said_is_done),
    "one key is one order": ("history", promises.a_key_is_one_order),
    "nobody paid for what they didn't ask for": ("generations", promises.nothing_unasked_for),
    "no credit is unaccounted for": ("accounts", books.no_credit_is_unaccounted_for),
    "one debit per generation, at its price": ("entries", books.one_debit_each),
    "one refund per failed or canceled, none else": ("entries", books.one_refund_each),
    "`tallyframe ledger verify` agrees": ("entries", books.the_audit_agrees),
    "no generation is bought twice": ("orders", purchases.nothing_is_bought_twice),
    "what may be billed is the last order": ("steps", purchases.what_may_be_billed_is_the_last_order),
    "no result without an order": ("generations", purchases.no_result_without_an_order),
    "media are there, whole, and the right ones": ("media", purchases.media_are_what_was_ordered),
    "nothing is left open at the vendor": ("steps", purchases.nothing_is_left_open_at_the_vendor),
    "the outbox is empty": ("outbox", purchases.every_call_is_answered_for),
    "no bug in the logs, no alarm by the auditor": ("alarms", promises.no_alarm_was_raised),
    "the vendor understood every request": ("orders", purchases.the_vendor_understood_everything),
}


def judge(evidence: Evidence) -> list[Verdict]:
    """Return the verdict of every check."""
    return [
        Verdict(name, len(getattr(evidence, what)), list(check(evidence))) for name, (what, check) in CHECKS.items()
    ]
