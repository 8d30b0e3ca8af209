"""The verdict: every check over the evidence. Pure, so that tests can prove each check with tampered evidence."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from chaos import aftermath, books, others, promises, purchases, readings, reasons, withstood
from chaos.evidence import Evidence

NOTHING = "it has looked at nothing"


@dataclass(frozen=True, slots=True)
class Verdict:
    """One check: what must hold, how many comparisons were made, and a sentence for each violation."""

    name: str
    looked_at: int
    problems: list[str]

    @property
    def is_ok(self) -> bool:
        """Whether it holds."""
        return not self.problems


_Check = Callable[[Evidence], Iterator[str]]

CHECKS: dict[str, _Check] = {
    "no acknowledged project is lost": promises.no_project_is_lost,
    "no acknowledged generation is lost": promises.no_generation_is_lost,
    "no generation is unfinished": promises.everything_has_ended,
    "a final status never changes": promises.final_status_never_changes,
    "no answer is older than an earlier one": readings.answers_never_go_back,
    "the API agrees with the rows in the end": readings.api_agrees_with_rows,
    "acknowledged acts are done": promises.acknowledged_acts_are_done,
    "what is deleted is gone": readings.what_is_deleted_is_gone,
    "one key is one order": promises.a_key_is_one_order,
    "every key is answered in the end": aftermath.every_key_is_answered,
    "nothing bought is refused": reasons.nothing_bought_is_refused,
    "nobody paid for what they didn't ask for": promises.nothing_unasked_for,
    "many at once are ordered whole or not at all": others.many_are_ordered_whole_or_not_at_all,
    "webhooks are applied once, in the end": others.webhooks_are_applied_once,
    "refused and failed for a reason": reasons.refused_and_failed_for_a_reason,
    "the product works once faults are over": aftermath.the_product_works,
    "no credit is unaccounted for": books.no_credit_is_unaccounted_for,
    "one debit per generation, at its price": books.one_debit_each,
    "one refund per failed or canceled, none else": books.one_refund_each,
    "`tallyframe ledger verify` agrees": books.the_audit_agrees,
    "no generation is bought twice": purchases.nothing_is_bought_twice,
    "nothing is ordered after a possible bill": purchases.nothing_is_ordered_after_a_possible_bill,
    "no result without an order": purchases.no_result_without_an_order,
    "media are there, whole, and the right ones": purchases.media_are_what_was_ordered,
    "nothing is left open at the vendor": purchases.nothing_is_left_open_at_the_vendor,
    "the outbox is empty": purchases.every_call_is_answered_for,
    "no bug in the logs, no alarm by the auditor": promises.no_alarm_was_raised,
    "every invariant of the auditor holds": promises.every_invariant_holds,
    "every process ends when asked to": promises.everybody_ends_when_asked,
    "the vendor understood every request": purchases.the_vendor_understood_everything,
    "no stranger was served or crashed anything": withstood.no_stranger_was_served,
    "`/healthz` answers in time": withstood.processes_answer_in_time,
    "an API process stays small": withstood.processes_stay_small,
}
#: For these, nothing to compare is good news.
MAY_BE_EMPTY = ("the outbox is empty", "no bug in the logs, no alarm by the auditor")
#: For these, a version without idempotency keys has nothing to compare.
_OF_KEYS = ("every key is answered in the end",)


def judge(evidence: Evidence) -> list[Verdict]:
    """Return the verdict of every check. A check without a comparison fails, except in a quick run."""
    verdicts = []
    for name, check in CHECKS.items():
        lines = list(check(evidence))
        may_be_empty = (
            evidence.is_quick or name in MAY_BE_EMPTY or (name in _OF_KEYS and not evidence.checks_idempotency)
        )
        problems = [line for line in lines if line] if lines or may_be_empty else [NOTHING]
        verdicts.append(Verdict(name, len(lines), problems))
    return verdicts
