"""Checks of refusals and failures: does each have a reason?

Each check yields a line per comparison (see `chaos/compared.py`).
"""

import math
from collections import defaultdict
from collections.abc import Iterator

from chaos.compared import expect
from chaos.evidence import Evidence, Row, seconds
from chaos.history import Line
from chaos.keys import keys_of, marker_of
from chaos.purchases import never_ready

_NO_CREDITS, _NOT_FOUND, _CONFLICT, _BUG = 402, 404, 409, 500
#: Which operations may get which conflict. Other refusals (401, 403, 422, 429) have no reason: no client does wrong.
_CONFLICTS = {
    "generating": ("film", "again", "delete", "delete_generation"),
    "not_cancelable": ("cancel", "cancel_generation"),
    "nothing_to_publish": ("publish",),
    "not_replayable": ("replay",),  # what was sent about a deleted user is gone
}
_DELETES = ("delete", "delete_generation")
_INTERNAL = "internal"  # a failure that no fault explains
_SWEPT = 20.0  # seconds after the last fault within which old generations may still expire
_MARGIN = 10.0  # seconds until a refund is seen, at most


def refused_and_failed_for_a_reason(evidence: Evidence) -> Iterator[str]:
    """Every refusal has a reason; nothing has failed by a bug, or has expired before its time."""
    reasons, ends = Reasons(evidence), Ends(evidence)
    for line in evidence.history:
        if line.outcome == "refused" or line.status == _BUG:
            told = f"client {line.client} was refused {line.op} {line.key or line.project}"
            yield expect(reasons.are_there(line), f"{told} without a reason: {line.status} {line.code}")
    for row in evidence.generations:
        if row["status"] == "failed":
            words = f"generation {row['id']} has failed as {row['error_code']}, {age(row):.1f} s old"
            yield expect(ends.are_lawful(row), words)


def nothing_bought_is_refused(evidence: Evidence) -> Iterator[str]:
    """A request with a key that has bought before is not refused. If its project is deleted, 404 is right."""
    bought, deleted = bought_at(evidence), evidence.deleted
    for key in keys_of(evidence.history).values():
        for line in key.lines:
            if line.outcome == "refused":
                may_be = line.sent <= bought.get(key.name, line.sent)
                may_be = may_be or (line.status == _NOT_FOUND and key.is_among(deleted))
                yield expect(
                    may_be, f"key {key.name} ({key.op}) was told {line.status} {line.code} after it had bought"
                )


class Reasons:
    """Reasons to refuse a client: too few credits, a project that it has deleted, or a conflict."""

    def __init__(self, evidence: Evidence) -> None:
        self._prices = evidence.prices
        self._keys = keys_of(evidence.history)
        self._accounts = {user.client: (user.account_id, user.granted) for user in evidence.users}
        self._moved: defaultdict[str, list[tuple[float, int]]] = defaultdict(list)
        for entry in evidence.entries:
            if entry["kind"] != "grant":
                self._moved[entry["account_id"]].append((seconds(entry["created_at"]), entry["amount"]))
        deletes = [line for line in evidence.history if line.op in _DELETES and line.outcome != "refused"]
        self._deletes = {line.project or line.generation: line.sent for line in reversed(deletes)}

    def are_there(self, line: Line) -> bool:
        """Tell whether this refusal has a reason."""
        if line.status == _NO_CREDITS:
            operation = "video" if line.op == "film" else line.op
            price = self._prices.get(operation) or max(self._prices.values())  # the same again may be the dearest
            return self._lowest_balance(line) < price
        if line.status == _NOT_FOUND:
            key = self._keys.get(line.key)
            about = {line.project or line.generation, *((key.project, *key.generations) if key else ())}
            return any(self._deletes.get(one, line.answered) < line.answered for one in about)
        return line.status == _CONFLICT and line.op in _CONFLICTS.get(line.code, ())

    def _lowest_balance(self, line: Line) -> int:
        """Return the lowest balance that the client had during the request."""
        if line.client not in self._accounts:  # an administrator, or another service: they pay nothing
            return max(self._prices.values())
        account, balance = self._accounts[line.client]
        balances = []
        for at, amount in sorted(self._moved[account]):
            if at > line.answered:
                break
            if at > line.sent - _MARGIN:
                balances.append(balance)
            balance += amount
        return min([*balances, balance])


class Ends:
    """Reasons of a failure: never a bug; and after the faults, only generations whose film never gets ready expire."""

    def __init__(self, evidence: Evidence) -> None:
        self._max_age = evidence.max_age
        self._never_ready = never_ready(evidence)
        self._served_again = min((line.sent for line in evidence.history if line.calm), default=math.inf) + _SWEPT

    def are_lawful(self, row: Row) -> bool:
        """Tell whether this failure has a reason."""
        if row["error_code"] != "expired":
            return bool(row["error_code"] != _INTERNAL)
        has_reason = row["id"] in self._never_ready or seconds(row["finished_at"]) < self._served_again
        return has_reason and age(row) >= self._max_age


def bought_at(evidence: Evidence) -> dict[str, float]:
    """Return when each key has bought: the time of the first debit for a generation with its marker, or of its answers.

    From then on every request that reads the account waits for that transaction.
    """
    debits = [entry for entry in evidence.entries if entry["kind"] == "debit"]
    debited: dict[str, str] = {entry["generation_id"]: entry["created_at"] for entry in debits}
    told = {one: key.name for key in keys_of(evidence.history).values() for one in key.generations}
    first: dict[str, float] = {}
    for row in evidence.generations:
        at = seconds(debited.get(row["id"]) or str(row["created_at"]))
        for key in {told.get(row["id"], ""), marker_of(row["prompt"])} - {""}:
            first[key] = min(at, first.get(key, at))
    return first


def age(row: Row) -> float:
    """Return the seconds from acceptance to end of a generation."""
    return seconds(row["finished_at"]) - seconds(row["created_at"])
