"""Checks of the purchases, by the vendor's book, and of their results.

A try of a step is one order at most: its row is committed as `intent` before the vendor is called. By the published
rules (docs/architecture.md, "The way of one run"), the vendor may have billed a try in one of these states:

    done, ticket, orphaned       the vendor has delivered, or has promised to
    withdrawn                    the generation ended first, and the vendor was asked to stop
    in_doubt                     nobody knows
    intent                       the generation ended during the call; it becomes in_doubt ten minutes later
    failed, provider_rejected    the answer had no usable result; it may be billed, and the order is placed again
    failed, storage_unavailable  the result was there, and could not be stored

It has not billed a try that failed by any other code: then it has refused the order. At most one try of a step may be
in a state of the first four lines, because after it nothing is ordered any more. Each check yields a line per
comparison (see `chaos/compared.py`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from chaos.compared import expect
from chaos.evidence import Evidence, Row, seconds
from chaos.keys import marker_of
from chaos.products import SHAPES, STEPS
from chaos.vendor_faults import STUCK

FINAL_STATES = ("done", "ticket", "orphaned", "withdrawn", "in_doubt", "intent")
BILLED_FAILURES = ("provider_rejected", "storage_unavailable")
ORDERS = ("image", "video", "text")  # lines of the vendor's book that are orders
_TRIED_FOR = 300.0  # seconds; the product's ten tries take longer: 5, 10, 20, 40 and then 60 seconds apart
_STOPPED = "stopped at the vendor"  # the product's words when the vendor has agreed to stop


def nothing_is_bought_twice(evidence: Evidence) -> Iterator[str]:
    """For each step, the vendor was paid at most as often as there are tries that it may have billed."""
    groups = Groups(evidence)
    of = {row["id"]: groups.of(row) for row in evidence.generations}
    tries: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for step in evidence.steps:
        tries[of.get(step["generation_id"], ""), step["name"]].append(step)
    for (group, name), number in sorted(groups.paid().items()):
        made = tries[group, name]
        states = [f"{step['generation_id']} {_describe(step)}" for step in made]
        words = f"order {group}, step {name}: paid {number} times; there are the tries {states}"
        yield expect(number <= sum(may_be_billed(step) for step in made), words)


def nothing_is_ordered_after_a_possible_bill(evidence: Evidence) -> Iterator[str]:
    """At most one try of a step is in a final state, and no try comes after it."""
    for (generation, _), steps in _tries(evidence).items():
        last = [step for step in steps if step["state"] in FINAL_STATES]
        is_last = not last or (len(last) == 1 and last[0] is steps[-1])
        yield expect(is_last, f"generation {generation} was ordered again after {[_describe(step) for step in steps]}")


def no_result_without_an_order(evidence: Evidence) -> Iterator[str]:
    """Every step of a succeeded generation is done, and was paid for at the vendor."""
    groups, tries = Groups(evidence), _tries(evidence)
    made, paid = Counter[tuple[str, str]](), groups.paid()
    for row in evidence.generations:
        if row["status"] == "succeeded":
            done = {name for (of, name), steps in tries.items() if of == row["id"] and steps[-1]["state"] == "done"}
            missing = STEPS[row["operation"]] - done
            yield expect(not missing, f"generation {row['id']} has succeeded without the steps {sorted(missing)}")
            made.update((groups.of(row), name) for name in done)
    for (group, name), number in sorted(made.items()):
        words = f"order {group}, step {name}: {number} succeeded, and the vendor was paid {paid[group, name]} times"
        yield expect(paid[group, name] >= number, words)


def nothing_is_left_open_at_the_vendor(evidence: Evidence) -> Iterator[str]:
    """No ended generation has an open ticket: the vendor was asked to stop, and its book says so."""
    canceled = {row["ticket"] for row in evidence.orders if row["kind"] == "cancel"}
    stuck, finished = tickets_of_the_stuck(evidence), {row["id"]: row["finished_at"] for row in evidence.generations}
    for step in evidence.steps:
        name = f"generation {step['generation_id']}"
        if step["state"] == "ticket":
            yield f"{name} still has an open ticket of attempt {step['attempt']}"
        elif step["ticket"] in stuck:
            is_so = step["ticket"] in canceled or _was_tried_for_long(step, finished.get(step["generation_id"]))
            yield expect(is_so, f"{name} has ended, and the vendor never: ticket {step['ticket']}")
        elif step["ticket"]:
            is_so = step["operator_message"] != _STOPPED or step["ticket"] in canceled
            yield expect(is_so, f"{name} was {_STOPPED}, which has never heard of that: ticket {step['ticket']}")


def _was_tried_for_long(step: Row, finished_at: str | None) -> bool:
    """Tell whether the product gave up after it had tried to reach the vendor for long enough."""
    ended = seconds(step["ended_at"]) if step["state"] == "withdrawn" and step["ended_at"] else 0.0
    return bool(finished_at) and ended - seconds(str(finished_at)) > _TRIED_FOR


def never_ready(evidence: Evidence) -> set[str]:
    """Return the generations that wait for a film that never gets ready."""
    stuck = tickets_of_the_stuck(evidence)
    return {step["generation_id"] for step in evidence.steps if step["ticket"] in stuck}


def tickets_of_the_stuck(evidence: Evidence) -> set[str]:
    """Return the tickets of films that never get ready."""
    return {row["ticket"] for row in evidence.orders if row.get("fault") == STUCK and row.get("ticket")}


def every_call_is_answered_for(evidence: Evidence) -> Iterator[str]:
    """The outbox is empty: no call is left that is due by now."""
    for row in evidence.outbox:
        yield f"an outbox row is left: {row['kind']} {row['ref']}, rung {row['rings']} times, due at {row['due_at']}"


def the_vendor_understood_everything(evidence: Evidence) -> Iterator[str]:
    """The vendor has found no request wrong."""
    for row in evidence.orders:
        yield row["words"] if row["kind"] == "complaint" else ""


def media_are_what_was_ordered(evidence: Evidence) -> Iterator[str]:
    """All that a success must have is there, with the right SHA-256, and of that order."""
    for row in evidence.media:
        if row["problem"]:
            yield f"generation {row['generation_id']}: {row['problem']}"
        elif row["made"] != SHAPES[row["operation"]]:
            yield f"generation {row['generation_id']} ({row['operation']}) has made: {row['made']}"
        elif not row["is_whole"]:
            yield f"generation {row['generation_id']}: the bytes are not those of the receipt"
        else:
            yield expect(row["is_its_own"], f"generation {row['generation_id']}: the media are of another order")


def may_be_billed(step: Row) -> bool:
    """Tell whether the vendor may have billed this try."""
    return step["state"] in FINAL_STATES or (step["state"] == "failed" and step["error_code"] in BILLED_FAILURES)


def bought_again(evidence: Evidence) -> int:
    """Return how many orders were placed again after an answer without a usable result, which the rules allow."""
    tries = [[step for step in steps if may_be_billed(step)] for steps in _tries(evidence).values()]
    return sum(max(len(billed) - 1, 0) for billed in tries)


def _tries(evidence: Evidence) -> dict[tuple[str, str], list[Row]]:
    """Return the tries of each step, by generation and name."""
    found: defaultdict[tuple[str, str], list[Row]] = defaultdict(list)
    for step in evidence.steps:
        found[step["generation_id"], step["name"]].append(step)
    return dict(found)


class Groups:
    """Orders that the vendor can't tell apart: those with the same marker, as an order that is placed again has.

    The prompts of a deleted project are erased, so all orders of its client for it are one group. So are those of a
    deleted generation that had none.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._orders = evidence.orders
        self._names: dict[str, str] = {}
        erased = {row["project_id"] or row["id"] for row in evidence.generations if not row["prompt"]}
        for line in evidence.history:
            about = line.project or line.generation
            if line.marker and about in erased:
                self._names[self._name(line.marker)] = self._name(about)

    def of(self, row: Row) -> str:
        """Return the group of a generation."""
        return self._name(marker_of(row["prompt"]) or row["project_id"] or row["id"])

    def paid(self) -> Counter[tuple[str, str]]:
        """Return how often the vendor was paid for each step of each group."""
        paid = [row for row in self._orders if row["kind"] in ORDERS and row["paid"]]
        return Counter((self._name(row["marker"]), row["step"]) for row in paid)

    def _name(self, member: str) -> str:
        while self._names.get(member, member) != member:
            member = self._names[member]
        return member


def _describe(step: Row) -> str:
    return f"{step['attempt']} {step['state']} {step['error_code'] or ''}".strip()
