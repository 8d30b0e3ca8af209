"""Ways to tamper with evidence: each returns a copy in which something has gone wrong."""

from collections import Counter
from dataclasses import replace
from typing import Any

from chaos.evidence import Evidence, Row
from chaos.history import Line


def acknowledged(evidence: Evidence) -> Line:
    """A new image that has succeeded, was paid once, and of whose project nobody has asked more than to see it."""
    kept = {row["generation_id"] for row in evidence.media}
    paid = Counter(row["marker"] for row in evidence.orders if row.get("paid"))
    of = Counter(row["project_id"] for row in evidence.generations)
    touched = {line.project for line in evidence.history if line.op not in {"image", "poll"}}  # deleted, maybe
    images = [line for line in evidence.history if line.op == "image" and line.project not in touched]
    # What was ordered while all was calm is there if chance has left nothing else.
    return next(one for one in images if one.generation in kept and paid[one.marker] == of[one.project] == 1)


def without(rows: list[Row], **values: Any) -> list[Row]:
    return [row for row in rows if not all(row.get(name) == value for name, value in values.items())]


def with_changes(rows: list[Row], row_id: str, **changes: Any) -> list[Row]:
    return [{**row, **changes} if row["id"] == row_id else row for row in rows]


def one_of(rows: list[Row], **values: Any) -> Row:
    return next(row for row in rows if all(row.get(name) == value for name, value in values.items()))


def told(evidence: Evidence, **changes: Any) -> Evidence:
    """One more line of the history, like that of the acknowledged image."""
    return replace(evidence, history=[*evidence.history, replace(acknowledged(evidence), **changes)])


def another_generation(evidence: Evidence) -> Evidence:
    row = one_of(evidence.generations, id=acknowledged(evidence).generation)
    return replace(evidence, generations=[*evidence.generations, {**row, "id": "never-asked-for", "prompt": "a cup"}])


def twice_for_a_key(evidence: Evidence) -> Evidence:
    row = one_of(evidence.generations, id=acknowledged(evidence).generation)
    twin = {**row, "id": "twin", "project_id": "twin-project"}
    return replace(evidence, generations=[*evidence.generations, twin])


def entry(evidence: Evidence, kind: str, amount: int) -> Evidence:
    row = one_of(evidence.entries, kind="debit", generation_id=acknowledged(evidence).generation)
    return replace(evidence, entries=[*evidence.entries, {**row, "id": "new", "kind": kind, "amount": amount}])


def richer(evidence: Evidence) -> Evidence:
    account = evidence.accounts[0]
    return replace(evidence, accounts=with_changes(evidence.accounts, account["id"], balance=account["balance"] + 1))


def paid_again(evidence: Evidence) -> Evidence:
    marker = acknowledged(evidence).marker
    return replace(evidence, orders=[*evidence.orders, one_of(evidence.orders, marker=marker, paid=True)])


def tried_again(evidence: Evidence, state: str, code: str | None = None, *, attempt: int = 0) -> Evidence:
    """Another try, before the one that was made if `attempt` is 0."""
    step = one_of(evidence.steps, generation_id=acknowledged(evidence).generation, state="done")
    new = {**step, "attempt": attempt, "state": state, "error_code": code}
    at = evidence.steps.index(step) + bool(attempt)
    return replace(evidence, steps=[*evidence.steps[:at], new, *evidence.steps[at:]])


def calm(evidence: Evidence, *, replaces: bool = False, **changes: Any) -> Evidence:
    """The acknowledged image's key is sent once more, and told this; `replaces`: what it was told then is forgotten."""
    line = acknowledged(evidence)
    new = replace(
        line, **{"calm": True, "replayed": True, "sent": line.answered + 60, "answered": line.answered + 61, **changes}
    )
    past = [one for one in evidence.history if one is line or not (replaces and one.key == line.key and one.calm)]
    return replace(evidence, history=[*[replace(one, calm=False) if one.key == line.key else one for one in past], new])


def never_asked_again(evidence: Evidence) -> Evidence:
    lost = replace(acknowledged(evidence), key="lost", marker="lost", outcome="info", generation="", calm=False)
    return replace(evidence, history=[*evidence.history, lost])


def without_calm(evidence: Evidence, op: str) -> Evidence:
    return replace(evidence, history=[line for line in evidence.history if not (line.calm and line.op == op)])


def refused(evidence: Evidence, status: int, code: str, **changes: Any) -> Evidence:
    """Another client than the poor one is told no, to a key of its own."""
    line = next(line for line in evidence.history if line.client and line.outcome == "ok")
    new = {"key": "no", "marker": "no", "op": "image", "outcome": "refused", "status": status, "code": code}
    return replace(evidence, history=[*evidence.history, replace(line, **{**new, **changes})])


def failed_as(evidence: Evidence, code: str) -> Evidence:
    row = acknowledged(evidence).generation
    return replace(evidence, generations=with_changes(evidence.generations, row, status="failed", error_code=code))


def polled(evidence: Evidence, *answers: dict[str, Any]) -> Evidence:
    """The acknowledged image's project is polled once more, with these answers, one after another."""
    line = replace(acknowledged(evidence), op="poll", key="", marker="", replayed=False)
    times = [{"sent": line.answered + 100 + n, "answered": line.answered + 100.5 + n} for n in range(len(answers))]
    more = [replace(line, **{**at, **answer}) for at, answer in zip(times, answers, strict=True)]
    return replace(evidence, history=[*evidence.history, *more])


def read(evidence: Evidence, what: str, **changes: Any) -> Evidence:
    """What was read last of this kind is changed."""
    row = one_of(evidence.reads, what=what)
    return replace(evidence, reads=[{**row, **changes}, *(other for other in evidence.reads if other is not row)])


def deleted(evidence: Evidence) -> Evidence:
    """The acknowledged image's project is deleted, and nothing of it has gone."""
    project = acknowledged(evidence).project
    return replace(evidence, projects=with_changes(evidence.projects, project, is_deleted=True, prompt=""))


def without_prompts(evidence: Evidence) -> Evidence:
    project = acknowledged(evidence).project
    rows = [{**row, "prompt": "" if row["project_id"] == project else row["prompt"]} for row in evidence.generations]
    return replace(evidence, generations=rows, assets=without(evidence.assets, project_id=project))


def stopped(evidence: Evidence) -> Evidence:
    step = {**evidence.steps[0], "state": "withdrawn", "ticket": "v1_x", "operator_message": "stopped at the vendor"}
    return replace(evidence, steps=[*evidence.steps, step])


def still_at_work(evidence: Evidence, generation: str = "g") -> Evidence:
    """The vendor has said that it could not stop, and the film was one that never gets ready."""
    step = {**evidence.steps[0], "state": "withdrawn", "ticket": "v1_x", "operator_message": "could not be stopped"}
    step |= {"generation_id": generation, "ended_at": "2026-01-01 00:00:00+00:00"}
    order = {"kind": "video", "marker": "m", "fault": "stuck", "paid": False, "ticket": "v1_x"}
    return replace(evidence, steps=[*evidence.steps, step], orders=[*evidence.orders, order])


def media(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, media=[{**evidence.media[0], **changes}, *evidence.media[1:]])


def never_paid(evidence: Evidence) -> Evidence:
    return replace(evidence, orders=without(evidence.orders, marker=acknowledged(evidence).marker))


def other(evidence: Evidence) -> str:
    return str(next(row["id"] for row in evidence.generations if row["id"] != acknowledged(evidence).generation))
