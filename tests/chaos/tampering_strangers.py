"""Ways to tamper with evidence of strangers, of the API processes' pulse and of their memory."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from chaos.evidence import Evidence, Row
from chaos.outsiders import MEMBER
from tests.chaos.tampering import one_of, with_changes

SERVED = "no stranger was served or crashed anything"
IN_TIME = "`/healthz` answers in time"
SMALL = "an API process stays small"


def stranger(evidence: Evidence, **changes: Any) -> Evidence:
    """One more connection like the first."""
    return replace(evidence, strangers=[*evidence.strangers, {**evidence.strangers[0], **changes}])


def bought_by_a_stranger(evidence: Evidence) -> Evidence:
    row = one_of(evidence.generations, status="succeeded")
    member = next(user for user in evidence.users if user.client == MEMBER)
    return replace(evidence, generations=with_changes(evidence.generations, row["id"], user_id=member.user_id))


def charged(evidence: Evidence) -> Evidence:
    """The strangers' user has paid for something."""
    member = next(user for user in evidence.users if user.client == MEMBER)
    row = {**one_of(evidence.entries, kind="debit"), "id": "new", "account_id": member.account_id, "amount": -5}
    return replace(evidence, entries=[*evidence.entries, row])


def picture_left(evidence: Evidence) -> Evidence:
    row = {"project_id": None, "generation_id": None, "key": "uploads/half-a-form.png", "sha256": "0"}
    return replace(evidence, assets=[*evidence.assets, row])


def slow(evidence: Evidence) -> Evidence:
    """Two answers in a hundred of an API process take five seconds."""
    return replace(evidence, lives=[], pulse=pulse(evidence.apis[0], [5.0, *[0.001] * 49] * 4))


def pulse(api: str, took: list[float]) -> list[Row]:
    """Rows of which each was sent a second after the one before."""
    return [
        {"api": api, "sent": 1000.0 + turn, "seconds": seconds, "status": 200, "waited": 0.0}
        for turn, seconds in enumerate(took)
    ]


def larger(evidence: Evidence) -> Evidence:
    """An API process has taken 300 MB more since it first answered."""
    sizes = [(1000.5, 70), (1001.5, 90), (1002.5, 390)]
    rows = [{"api": "api-1", "start": 9, "at": at, "bytes": megabytes * 10**6} for at, megabytes in sizes]
    return replace(evidence, memory=rows, pulse=pulse("api-1", [0.001] * 3))


STRANGE: list[tuple[Callable[[Evidence], Evidence], str, str]] = [
    (lambda e: stranger(e, statuses=[200]), SERVED, "was told 200"),
    (lambda e: stranger(e, statuses=[401, 202]), SERVED, "was told 202"),
    (lambda e: stranger(e, statuses=[500]), SERVED, "was told 500"),
    (lambda e: stranger(e, statuses=[], end="held", seconds=99.0), SERVED, "was kept for 99 s"),
    (lambda e: replace(e, deaths=["api-1: SIGSEGV"]), SERVED, "api-1: SIGSEGV, beside strangers"),
    (bought_by_a_stranger, SERVED, "was ordered by a stranger"),
    (picture_left, SERVED, "uploads/half-a-form.png"),
    (lambda e: replace(e, files=[*e.files, "uploads/a.png"]), SERVED, "uploads/a.png"),
    (charged, "no credit is unaccounted for", "client -3 has"),
    (slow, IN_TIME, "api-1: p99 of /healthz is "),
    (lambda e: replace(e, pulse=[]), IN_TIME, "of 0 answers"),
    (larger, SMALL, "has taken 300 MB more"),
]
