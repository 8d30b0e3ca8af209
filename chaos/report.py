"""The tables: requests by outcome, faults by kind, orders at the vendor, and the checks."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import get_args

from rich.console import Console
from rich.table import Table

from chaos.checker import MAY_BE_EMPTY, Verdict
from chaos.evidence import Evidence
from chaos.history import Outcome
from chaos.purchases import ORDERS, bought_again, never_ready
from chaos.report_strangers import pulses, strangers

_WIDTH = 110  # characters, also where the output is no terminal
_ACTS = {"cancel": "cancels", "delete": "deletions", "publish": "publications", "replay": "replays of events"}
_EXAMPLES = 3  # problems that are shown of each check


def print_report(evidence: Evidence, faults: Mapping[str, int], verdicts: Sequence[Verdict], quiet: float) -> None:
    """Print all tables; `quiet` is the seconds until all generations had ended."""
    console = Console(width=_WIDTH, highlight=False)
    console.print(_requests(evidence))
    console.print(_counted("Faults", faults))
    bills = Counter(f"{row['kind']}, {row['fault']}" for row in evidence.orders if row["kind"] in ORDERS)
    console.print(_counted("Orders at the vendor, by its fault", bills))
    console.print(_counted("Generations", Counter(row["status"] for row in evidence.generations)))
    doubts = Counter(row["state"] for row in evidence.steps)
    again = bought_again(evidence)
    print(f"Tries: {', '.join(f'{number} {state}' for state, number in sorted(doubts.items()))}.", end=" ")
    print(f"Ordered again after an answer without a usable result: {again}.")
    print(_acts(evidence))
    console.print(strangers(evidence))
    print(*pulses(evidence), sep="\n")
    print(f"All generations had ended {quiet:.1f} s after the last fault.")
    for death, times in sorted(Counter(evidence.deaths).items()):
        print(f"Ended without having been asked to, and was started again: {death}, {times} times.")
    console.print(_checks(verdicts))


def _acts(evidence: Evidence) -> str:
    """Return a sentence about events that no table shows, so that a reader knows they happened."""
    done = Counter(line.op for line in evidence.history if line.outcome == "ok")
    stopped = len({row["ticket"] for row in evidence.orders if row["kind"] == "cancel"})
    acts = ", ".join(f"{done[op]} {words}" for op, words in _ACTS.items())
    expired = [row["id"] for row in evidence.generations if row["error_code"] == "expired"]
    never = len(never_ready(evidence) & set(expired))
    films = f"Films stopped at the vendor: {stopped}"
    return f"Acknowledged: {acts}. {films}. Expired: {len(expired)}, of which {never} would never have been ready."


def _requests(evidence: Evidence) -> Table:
    table = Table(title="Requests; info: the outcome is unknown")
    table.add_column("operation", no_wrap=True)
    outcomes: tuple[Outcome, ...] = get_args(Outcome)
    for name in ("all", *outcomes, "replayed"):
        table.add_column(name, justify="right")
    counts = Counter((line.op, line.outcome) for line in evidence.history)
    replayed = Counter(line.op for line in evidence.history if line.replayed)
    for op in sorted({line.op for line in evidence.history}):
        each = [counts[op, outcome] for outcome in outcomes]
        table.add_row(op, *(str(number) for number in (sum(each), *each, replayed[op])))
    totals = [sum(counts[op, outcome] for op, outcome in counts if outcome == wanted) for wanted in outcomes]
    table.add_row("all", *(str(number) for number in (sum(totals), *totals, replayed.total())))
    return table


def _counted(title: str, counts: Mapping[str, int]) -> Table:
    table = Table(title=f"{title}: {sum(counts.values())}")
    table.add_column("kind", no_wrap=True)
    table.add_column("times", justify="right")
    for name, number in sorted(counts.items()):
        table.add_row(name, str(number))
    return table


def _checks(verdicts: Sequence[Verdict]) -> Table:
    table = Table(title="Checks")
    table.add_column("what must hold", no_wrap=True)
    table.add_column("compared", justify="right")
    table.add_column("verdict")
    for verdict in verdicts:
        table.add_row(verdict.name, str(verdict.looked_at), _describe(verdict))
    return table


def _describe(verdict: Verdict) -> str:
    if verdict.is_ok:
        return "ok" if verdict.looked_at or verdict.name in MAY_BE_EMPTY else "nothing to look at"
    more = len(verdict.problems) - _EXAMPLES
    examples = [f"- {problem}" for problem in verdict.problems[:_EXAMPLES]]
    return "\n".join(
        [f"VIOLATED {len(verdict.problems)} times", *examples, *([f"and {more} more"] if more > 0 else [])]
    )
