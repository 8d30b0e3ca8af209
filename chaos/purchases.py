"""Checks of what was bought at the vendor, by its book, and of what came of it.

A try of a step is one order at most: its row is committed as `intent` before the vendor is asked. By the published
rules (docs/architecture.md, "The way of one run"), these of them may have been billed:

    done, ticket, orphaned       the vendor has delivered, or has promised to
    withdrawn                    the generation ended first, and the vendor was asked to stop
    in_doubt                     nobody knows: booked as such
    intent                       the generation ended while it was on its way; booked as a doubt ten minutes later
    failed, provider_rejected    there was an answer without a usable result, which may be billed, and is ordered again
    failed, storage_unavailable  the result was there, and could not be stored

and these were not: `failed` by any other code, where the vendor has said no. At most one try of a generation may be of
the first four lines: all of them forbid another order, for good. Each check takes the evidence and yields a line for
each thing that it has compared, empty where all is well.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from chaos.compared import expect
from chaos.evidence import Evidence, Row, seconds
from chaos.keys import marker_of
from chaos.vendor_faults import STUCK

LAST_WORDS = ("done", "ticket", "orphaned", "withdrawn", "in_doubt", "intent")
BILLED_FAILURES = ("provider_rejected", "storage_unavailable")
ORDERS = ("image", "video")  # lines of the vendor's book that are orders
_TRIED_FOR = 300.0  # seconds; ten rings take longer: 5, 10, 20, 40 and then 60 apart
_STOPPED = "stopped at the vendor"  # what the product books when the vendor has agreed to stop


def nothing_is_bought_twice(evidence: Evidence) -> Iterator[str]:
    """The vendor was paid as often as there are tries that may have been billed, and not more."""
    allowed, tries, groups = Counter[str](), _tries(evidence), Groups(evidence)
    for row in evidence.generations:
        allowed[groups.of(row)] += sum(may_be_billed(step) for step in tries[row["id"]])
    for group, number in sorted(groups.paid().items()):
        if number <= allowed[group]:
            yield ""
            continue
        of = [row["id"] for row in evidence.generations if groups.of(row) == group]
        states = [_told(step) for generation in of for step in tries[generation]]
        yield f"order {group}: paid {number} times; its generations {of} have the tries {states}"


def what_may_be_billed_is_the_last_order(evidence: Evidence) -> Iterator[str]:
    """Of a generation's tries at most one has delivered, promised or is in doubt; all before it have failed."""
    for generation, steps in _tries(evidence).items():
        last = [step for step in steps if step["state"] in LAST_WORDS]
        is_last = not last or (len(last) == 1 and last[0] is steps[-1])
        yield expect(is_last, f"generation {generation} was ordered again after {[_told(step) for step in steps]}")


def no_result_without_an_order(evidence: Evidence) -> Iterator[str]:
    """Every succeeded generation was paid for at the vendor."""
    groups = Groups(evidence)
    made, paid = Counter(groups.of(row) for row in evidence.generations if row["status"] == "succeeded"), groups.paid()
    for group, number in sorted(made.items()):
        words = f"order {group}: {number} succeeded, and the vendor was paid {paid[group]} times"
        yield expect(paid[group] >= number, words)


def nothing_is_left_open_at_the_vendor(evidence: Evidence) -> Iterator[str]:
    """No ticket of an ended generation is left: the vendor was asked to stop, by its own book, and has if it could."""
    canceled = {row["ticket"] for row in evidence.orders if row["kind"] == "cancel"}
    stuck, finished = tickets_of_the_stuck(evidence), {row["id"]: row["finished_at"] for row in evidence.generations}
    for step in evidence.steps:
        told = f"generation {step['generation_id']}"
        if step["state"] == "ticket":
            yield f"{told} still has an open ticket of attempt {step['attempt']}"
        elif step["ticket"] in stuck:
            is_so = step["ticket"] in canceled or _was_tried_for_long(step, finished.get(step["generation_id"]))
            yield expect(is_so, f"{told} has ended, and the vendor never: ticket {step['ticket']}")
        elif step["ticket"]:
            is_so = step["operator_message"] != _STOPPED or step["ticket"] in canceled
            yield expect(is_so, f"{told} was {_STOPPED}, which has never heard of that: ticket {step['ticket']}")


def _was_tried_for_long(step: Row, finished_at: str | None) -> bool:
    """Tell whether the vendor could not be asked for as many minutes as the product asks it."""
    ended = seconds(step["ended_at"]) if step["state"] == "withdrawn" and step["ended_at"] else 0.0
    return bool(finished_at) and ended - seconds(str(finished_at)) > _TRIED_FOR


def never_ready(evidence: Evidence) -> set[str]:
    """Return the generations that wait for a film that never gets ready."""
    stuck = tickets_of_the_stuck(evidence)
    return {step["generation_id"] for step in evidence.steps if step["ticket"] in stuck}


def tickets_of_the_stuck(evidence: Evidence) -> set[str]:
    """Return the tickets of those films, where somebody may have heard of them."""
    return {row["ticket"] for row in evidence.orders if row.get("mood") == STUCK and row.get("ticket")}


def every_call_is_answered_for(evidence: Evidence) -> Iterator[str]:
    """The outbox is empty: nobody has to be rung for any more."""
    for row in evidence.outbox:
        yield f"an outbox row is left: {row['kind']} {row['ref']}, rung {row['rings']} times, due at {row['due_at']}"


def the_vendor_understood_everything(evidence: Evidence) -> Iterator[str]:
    """Every request to the vendor was as its API wants it."""
    for row in evidence.orders:
        yield row["words"] if row["kind"] == "complaint" else ""


def media_are_what_was_ordered(evidence: Evidence) -> Iterator[str]:
    """The media of every succeeded generation can be fetched, have their SHA-256, and are those of that very order."""
    for row in evidence.media:
        if row["problem"]:
            yield f"generation {row['generation_id']}: {row['problem']}"
        elif not row["is_whole"]:
            yield f"generation {row['generation_id']}: the bytes are not those of the receipt"
        else:
            yield expect(row["is_its_own"], f"generation {row['generation_id']}: the media are of another order")


def may_be_billed(step: Row) -> bool:
    """Tell whether the vendor may have billed this try."""
    return step["state"] in LAST_WORDS or (step["state"] == "failed" and step["error_code"] in BILLED_FAILURES)


def bought_again(evidence: Evidence) -> int:
    """Return how many orders were placed, as the rules allow, after an answer without a usable result."""
    tries = [[step for step in steps if may_be_billed(step)] for steps in _tries(evidence).values()]
    return sum(max(len(billed) - 1, 0) for billed in tries)


def _tries(evidence: Evidence) -> defaultdict[str, list[Row]]:
    found: defaultdict[str, list[Row]] = defaultdict(list)
    for step in evidence.steps:
        found[step["generation_id"]].append(step)
    return found


class Groups:
    """Orders that the vendor can't tell apart: those with one marker, as what is placed again has.

    A deleted project's prompts are erased; what its client had ordered for it becomes one group.
    """

    def __init__(self, evidence: Evidence) -> None:
        self._orders = evidence.orders
        self._names: dict[str, str] = {}
        erased = {row["project_id"] for row in evidence.generations if not row["prompt"]}
        for line in evidence.history:
            if line.marker and line.project in erased:
                self._names[self._name(line.marker)] = self._name(line.project)

    def of(self, row: Row) -> str:
        """Return the group of a generation."""
        return self._name(marker_of(row["prompt"]) or row["project_id"])

    def paid(self) -> Counter[str]:
        """Return how often the vendor was paid for each group."""
        paid = [row["marker"] for row in self._orders if row["kind"] in ORDERS and row["paid"]]
        return Counter(self._name(marker) for marker in paid)

    def _name(self, member: str) -> str:
        while self._names.get(member, member) != member:
            member = self._names[member]
        return member


def _told(step: Row) -> str:
    return f"{step['attempt']} {step['state']} {step['error_code'] or ''}".strip()
