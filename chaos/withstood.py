"""Checks of what strangers could do: nothing was served to them, and the API processes stayed quick and small.

Each check yields a line per comparison (see `chaos/compared.py`).
"""

import math
from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator, Sequence

from chaos.compared import expect
from chaos.evidence import Evidence, Row
from chaos.outsiders import MEMBER
from chaos.pulse import LONGEST

#: What strangers may be told. A connection may also be closed without a word.
REFUSALS = frozenset({400, 401, 408, 413, 415, 422, 429, 431, 503})
MOST_GROWTH = 200 * 10**6  # bytes
_OK = 200
_SETTLES = 1.0  # seconds after a fault of the process itself: what has waited meanwhile is served now
_DOWN = ("SIGKILL", "SIGTERM")
_P99 = 0.99


def no_stranger_was_served(evidence: Evidence) -> Iterator[str]:
    """Each connection was refused, closed or given up; no API process ended by itself; the member has bought none."""
    for row in evidence.strangers:
        told, what = [status for status in row["statuses"] if status not in REFUSALS], f"{row['act']} at {row['api']}"
        if told:
            yield f"{what} was told {told[0]}"
        else:
            yield expect(row["end"] != "held", f"{what} was kept for {row['seconds']:.0f} s")
    for death in evidence.deaths:
        if death.startswith("api"):
            yield f"{death}, beside strangers"
    members = {user.user_id for user in evidence.users if user.client == MEMBER}
    for row in evidence.generations:
        if row["user_id"] in members:
            yield f"generation {row['id']} was ordered by a stranger"
    if evidence.strangers:
        uploads = [row["key"] for row in evidence.assets if not (row["project_id"] or row["generation_id"])]
        files = [name for name in evidence.files if name.startswith("uploads/")]
        yield expect(not (uploads or files), f"strangers have left pictures: {[*uploads, *files][:3]}")


def processes_answer_in_time(evidence: Evidence) -> Iterator[str]:
    """The 99th percentile of `/healthz`, of each API process, while it was meant to be up."""
    for api in evidence.apis:
        rows = meant_to_be_up(evidence, api)
        found = percentile([seconds_of(row) for row in rows], _P99, evidence.turn)
        words = f"{api}: p99 of /healthz is {found * 1000:.0f} ms, of {len(rows)} answers"
        yield expect(found < evidence.most_seconds, words)


def processes_stay_small(evidence: Evidence) -> Iterator[str]:
    """An API process has less than 200 MB more than when it first answered; what decodes pictures is no part of it."""
    for (api, start), grown in sorted(growth(evidence).items()):
        words = f"{api}, start {start}, has taken {grown / 10**6:.0f} MB more than when it first answered"
        yield expect(grown < MOST_GROWTH, words)


def meant_to_be_up(evidence: Evidence, api: str) -> list[Row]:
    """Return the rows of the pulse that no fault of the process itself explains.

    Left out is what was sent or still unanswered while the process was frozen, or from the signal that ended it until
    it first answered again, and for a second after either.
    """
    rows = [row for row in evidence.pulse if row["api"] == api]
    spans = _away(evidence, api, rows)

    def is_explained(row: Row) -> bool:
        return any(row["sent"] < end and row["sent"] + row["seconds"] > at for at, end in spans)

    return [row for row in rows if not is_explained(row)]


def _away(evidence: Evidence, api: str, rows: Sequence[Row]) -> list[tuple[float, float]]:
    """Return when the process was not meant to be up."""
    spans = list[tuple[float, float]]()
    is_down, frozen_at, down_at = False, math.inf, math.inf
    for life in (life for life in evidence.lives if life["api"] == api):
        at, what = life["at"], life["what"]
        if what == "SIGSTOP":
            frozen_at = min(frozen_at, at)
        elif what == "SIGCONT" and frozen_at < math.inf:
            spans.append((frozen_at, at + _SETTLES))
            frozen_at = math.inf
        elif what in _DOWN:
            is_down, down_at = True, min(down_at, at)
        elif what == "started" and is_down:
            answered = (row["sent"] + row["seconds"] for row in rows if row["sent"] > at and row["status"] == _OK)
            spans.append((down_at, next(answered, math.inf) + _SETTLES))
            is_down, down_at = False, math.inf
    return [*spans, *((at, math.inf) for at in (frozen_at, down_at) if at < math.inf)]


def seconds_of(row: Row) -> float:
    """Return how long an answer took, without the time in which the process had no processor.

    That time says how busy the machine is with others. Where there was no answer, it is the longest time.
    """
    return float(row["seconds"] - row["waited"]) if row["status"] == _OK else LONGEST


def percentile(taken: Sequence[float], share: float, turn: float) -> float:
    """Return the seconds within which this share of all turns was answered; infinity if there is none.

    There is one every `turn` seconds. One in the time of a slow answer counts, too: it would have waited for the rest.
    """
    waited = [one - missed * turn for one in taken for missed in range(max(1, math.ceil(one / turn)))]
    return sorted(waited)[min(len(waited) - 1, int(len(waited) * share))] if waited else math.inf


def growth(evidence: Evidence) -> dict[tuple[str, int], int]:
    """Return the bytes that each start of each API process has taken at most, above those at its first answer."""
    answered = defaultdict(list)
    for row in evidence.pulse:
        if row["status"] == _OK:
            answered[row["api"]].append(row["sent"])
    starts = defaultdict(list)
    for row in evidence.memory:
        starts[row["api"], row["start"]].append(row)
    found = dict[tuple[str, int], int]()
    for (api, start), rows in starts.items():
        first = bisect_left(answered[api], rows[0]["at"])
        since = answered[api][first] if first < len(answered[api]) else math.inf
        taken = [row["bytes"] for row in rows if row["at"] >= since]
        if taken:
            found[api, start] = max(taken) - taken[0]
    return found
