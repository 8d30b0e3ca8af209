"""Checks of what others do than clients: webhooks are applied once, and batches are ordered whole or not at all.

Each check yields a line per comparison (see `chaos/compared.py`).
"""

from collections import Counter, defaultdict
from collections.abc import Iterator

from chaos.batches import SIZE
from chaos.compared import expect
from chaos.evidence import Evidence, Row
from chaos.history import Line
from chaos.telling import email_of

EVENTS = ("user.created", "user.updated", "user.deleted")


def webhooks_are_applied_once(evidence: Evidence) -> Iterator[str]:
    """What was taken is stored and applied, nothing else is; each user is as the latest news say, with one grant."""
    sent = {line.key: line for line in evidence.history if line.op in EVENTS}
    rows = {row["event_id"]: row for row in evidence.events}
    for line in evidence.history:
        if line.op in EVENTS and line.outcome == "ok":
            yield expect(line.key in rows, f"event {line.key} was taken and is not there")
    for name, row in rows.items():
        yield expect(name in sent, f"event {name} was never sent")
        yield expect(row["status"] in {"applied", "ignored"}, f"event {name} is still {row['status']}: {row['error']}")
    news: defaultdict[str, list[Line]] = defaultdict(list)
    for name in sent.keys() & rows.keys():
        news[sent[name].marker].append(sent[name])
    there: defaultdict[str, list[Row]] = defaultdict(list)
    for row in evidence.told_users:
        there[row["subject"]].append(row)
    for subject in sorted(news.keys() | there.keys()):
        yield _compare_user(subject, news[subject], there[subject])
        kept = [row["event_id"] for row in evidence.events if row["subject"] == subject and row["has_body"]]
        is_gone = any(line.op == "user.deleted" for line in news[subject])
        yield expect(not (is_gone and kept), f"user {subject} is deleted, and the bodies of {kept} are kept")


def _compare_user(subject: str, news: list[Line], rows: list[Row]) -> str:
    """Return how a user differs from what was told of them, or nothing."""
    is_gone = any(line.op == "user.deleted" for line in news)
    latest = max((int(line.key.rpartition("_")[2]) for line in news), default=0)
    if len(rows) != 1:
        return f"user {subject} is there {len(rows)} times"
    (row,) = rows
    if is_gone:
        is_so = row["is_deleted"] and row["email"] is None and row["grants"] <= 1
        return expect(is_so, f"user {subject} was deleted, and is {row}")
    is_so = not row["is_deleted"] and row["email"] == email_of(subject, latest) and row["grants"] == 1
    return expect(is_so, f"user {subject} was last changed at {latest}, and is {row}")


def many_are_ordered_whole_or_not_at_all(evidence: Evidence) -> Iterator[str]:
    """Of each batch, all generations are there or none; all, if it was accepted, and none, if it was refused."""
    found = Counter(row["batch"] for row in evidence.generations if row["batch"])
    for line in (line for line in evidence.history if line.op == "batch"):
        there = found.pop(line.key, 0)
        lawful = {"ok": (SIZE,), "refused": (0,), "info": (0, SIZE)}[line.outcome]
        yield expect(there in lawful, f"batch {line.key} of {SIZE} was {line.outcome}, and {there} are there")
    for name, number in found.items():
        yield f"nobody has ordered batch {name}, of which {number} are there"
