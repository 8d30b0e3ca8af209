"""What the report says of strangers: what they did and were told, and how the API processes fared meanwhile."""

from collections import Counter
from collections.abc import Iterator

from rich.table import Table

from chaos.evidence import Evidence
from chaos.withstood import growth, meant_to_be_up, percentile, seconds_of

_ENDS = ("closed", "left", "held", "refused")


def strangers(evidence: Evidence) -> Table:
    """Return a table of the connections: what was done, which statuses came, and how those without one ended."""
    table = Table(title=f"Connections of hostile strangers: {len(evidence.strangers)}")
    table.add_column("what they did", no_wrap=True)
    for name in ("times", *_ENDS):
        table.add_column({"left": "hung up", "refused": "nobody there"}.get(name, name), justify="right")
    table.add_column("told")
    for act in sorted({row["act"] for row in evidence.strangers}):
        rows = [row for row in evidence.strangers if row["act"] == act]
        ends = Counter(row["end"] for row in rows if not row["statuses"])
        told = Counter(status for row in rows for status in row["statuses"])
        words = ", ".join(f"{status}: {times}" for status, times in sorted(told.items()))
        table.add_row(act, str(len(rows)), *(str(ends[end]) for end in _ENDS), words)
    return table


def pulses(evidence: Evidence) -> Iterator[str]:
    """Return a sentence about each API process: `/healthz`, memory, and how much it lacked a processor."""
    grown = growth(evidence)
    for api in evidence.apis:
        every, up = [row for row in evidence.pulse if row["api"] == api], meant_to_be_up(evidence, api)
        took, there = [seconds_of(row) for row in up], [row["seconds"] for row in up]
        middle, most, with_waits = (
            percentile(each, share, evidence.turn) * 1000 for each, share in ((took, 0.5), (took, 0.99), (there, 0.99))
        )
        largest = max((size for (name, _), size in grown.items() if name == api), default=0) / 10**6
        yield (
            f"{api}: /healthz p50 {middle:.0f} ms, p99 {most:.0f} ms; {with_waits:.0f} ms with the time in which the "
            f"process had no processor, {starved(evidence, api):.0%} of all time ({len(up)} answers, "
            f"{len(every) - len(up)} left out). At most {largest:.0f} MB more."
        )


def starved(evidence: Evidence, api: str) -> float:
    """Return which part of its life an API process wanted to run and had no processor: the machine was busy."""
    lived = waited = 0.0
    for start in {row["start"] for row in evidence.memory if row["api"] == api}:
        rows = [row for row in evidence.memory if (row["api"], row["start"]) == (api, start)]
        lived += rows[-1]["at"] - rows[0]["at"]
        waited += rows[-1]["waited"] - rows[0]["waited"]
    return waited / lived if lived else 0.0
