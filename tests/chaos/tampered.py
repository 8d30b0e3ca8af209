"""Evidence that was tampered with: what is done to it, which check must see that, and a word of what it must say."""

from collections import Counter
from collections.abc import Callable
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


INVARIANT = {"name": "chains_hold", "is_counted": False, "checked": 9, "violations": 1, "examples": ["x: broken"]}


def media(evidence: Evidence, **changes: Any) -> Evidence:
    return replace(evidence, media=[{**evidence.media[0], **changes}, *evidence.media[1:]])


def never_paid(evidence: Evidence) -> Evidence:
    return replace(evidence, orders=without(evidence.orders, marker=acknowledged(evidence).marker))


def other(evidence: Evidence) -> str:
    return str(next(row["id"] for row in evidence.generations if row["id"] != acknowledged(evidence).generation))


OUTBOX = {"kind": "withdraw", "ref": "g", "rings": 3, "due_at": "later"}

#: What is done to the evidence, the check that must see it, and a word of what it must say.
TAMPERED: list[tuple[Callable[[Evidence], Evidence], str, str]] = [
    (
        lambda e: replace(e, projects=without(e.projects, id=acknowledged(e).project)),
        "no acknowledged project is lost",
        "is not there",
    ),
    (
        lambda e: replace(e, projects=with_changes(e.projects, acknowledged(e).project, is_deleted=True)),
        "no acknowledged project is lost",
        "nobody asked for that",
    ),
    (
        lambda e: replace(e, generations=without(e.generations, id=acknowledged(e).generation)),
        "no acknowledged generation is lost",
        "is not there",
    ),
    (
        lambda e: replace(e, generations=with_changes(e.generations, acknowledged(e).generation, user_id="mallory")),
        "no acknowledged generation is lost",
        "another project or user",
    ),
    (
        lambda e: replace(e, generations=with_changes(e.generations, acknowledged(e).generation, status="processing")),
        "no generation is unfinished",
        "still processing",
    ),
    (
        lambda e: replace(e, generations=with_changes(e.generations, acknowledged(e).generation, lease_until="soon")),
        "no generation is unfinished",
        "leased until soon",
    ),
    (lambda e: told(e, op="poll", generation_status="failed"), "a final status never changes", "is succeeded"),
    (lambda e: told(e, op="delete"), "acknowledged acts are done", "was deleted and is there"),
    (lambda e: told(e, op="cancel", generation_status="pending"), "acknowledged acts are done", "pending"),
    (lambda e: told(e, generation=other(e)), "one key is one order", "2 different orders"),
    (
        lambda e: told(e, outcome="refused", code="generating", sent=2e10),
        "one key is one order",
        "also refused: generating",
    ),
    (
        lambda e: calm(e, replaces=True, outcome="info", status=409, code="request_in_progress"),
        "every key is answered in the end",
        "request_in_progress",
    ),
    (lambda e: calm(e, generation=other(e)), "every key is answered in the end", "is told"),
    (lambda e: calm(e, replayed=False), "every key is answered in the end", "as if it were new"),
    (
        lambda e: calm(e, outcome="refused", status=404, code="not_found"),
        "every key is answered in the end",
        "is refused now: 404",
    ),
    (never_asked_again, "every key is answered in the end", "sent 0 times"),
    (lambda e: without_calm(e, "ready"), "the product works once faults are over", "api-1 is not ready"),
    (lambda e: without_calm(e, "image"), "the product works once faults are over", "no image that was ordered"),
    (lambda e: without_calm(e, "video"), "the product works once faults are over", "at api-2 after"),
    (lambda e: refused(e, 402, "insufficient_credits"), "refused and failed for a reason", "without a reason: 402"),
    (lambda e: refused(e, 404, "not_found", op="poll"), "refused and failed for a reason", "without a reason: 404"),
    (lambda e: refused(e, 401, "unauthenticated"), "refused and failed for a reason", "without a reason: 401"),
    (
        lambda e: refused(e, 500, "internal", outcome="info"),
        "refused and failed for a reason",
        "without a reason: 500 internal",
    ),
    (lambda e: refused(e, 409, "generating"), "refused and failed for a reason", "without a reason: 409"),
    (lambda e: failed_as(e, "internal"), "refused and failed for a reason", "failed as internal"),
    (lambda e: failed_as(e, "expired"), "refused and failed for a reason", "failed as expired, "),
    (
        lambda e: told(e, outcome="refused", status=402, code="insufficient_credits", sent=2e10, answered=2e10),
        "nothing bought is refused",
        "was told 402",
    ),
    (
        lambda e: polled(e, {"status_sequence": 9}, {"status_sequence": 8}),
        "no answer is older than an earlier one",
        "was at 9",
    ),
    (
        lambda e: polled(
            e,
            {"status_sequence": 9, "generation_status": "succeeded"},
            {"status_sequence": 9, "generation_status": "failed"},
        ),
        "no answer is older than an earlier one",
        "was succeeded, and later failed",
    ),
    (
        lambda e: replace(e, projects=[{**row, "status": "processing"} for row in e.projects]),
        "the API agrees with the rows in the end",
        "is read",
    ),
    (lambda e: read(e, "project", status=404, said={}), "the API agrees with the rows in the end", "404"),
    (lambda e: read(e, "stranger", status=200), "the API agrees with the rows in the end", "a stranger was told 200"),
    (
        lambda e: read(e, "credits", said={"available": -1}),
        "the API agrees with the rows in the end",
        "shows -1 credits",
    ),
    (
        lambda e: read(e, "explore", said={"ids": ["p"]}),
        "the API agrees with the rows in the end",
        "in Explore and not",
    ),
    (lambda e: read(e, "explore", status=500), "the API agrees with the rows in the end", "Explore can't be read"),
    (deleted, "the API agrees with the rows in the end", "is deleted, and was told 200"),
    (deleted, "what is deleted is gone", "A red cup"),
    (lambda e: without_prompts(deleted(e)), "what is deleted is gone", "generations/"),
    (stopped, "nothing is left open at the vendor", "has never heard of that"),
    (still_at_work, "nothing is left open at the vendor", "has ended, and the vendor never"),
    (lambda e: replace(e, invariants=[INVARIANT]), "every invariant of the auditor holds", "x: broken"),
    (
        lambda e: replace(e, endings={"worker-1": ["ignored SIGTERM"]}),
        "every process ends when asked to",
        "worker-1: ignored SIGTERM",
    ),
    (another_generation, "nobody paid for what they didn't ask for", "never-asked-for"),
    (twice_for_a_key, "nobody paid for what they didn't ask for", "acknowledged with another id"),
    (richer, "no credit is unaccounted for", "come out"),
    (lambda e: entry(e, "grant", 5), "no credit is unaccounted for", "was granted"),
    (lambda e: entry(e, "debit", -5), "one debit per generation, at its price", "[-5, -5]"),
    (lambda e: replace(e, prices={**e.prices, "image": 6}), "one debit per generation, at its price", "costs 6"),
    (lambda e: entry(e, "refund", 5), "one refund per failed or canceled, none else", "was refunded [5]"),
    (lambda e: replace(e, audit=(1, "WRONG chain")), "`tallyframe ledger verify` agrees", "WRONG chain"),
    (paid_again, "no generation is bought twice", "paid 2 times"),
    (
        lambda e: paid_again(tried_again(e, "failed", "provider_unavailable")),
        "no generation is bought twice",
        "paid 2 times",
    ),
    (lambda e: tried_again(e, "in_doubt"), "nothing is ordered after a possible bill", "0 in_doubt"),
    (lambda e: tried_again(e, "failed", attempt=2), "nothing is ordered after a possible bill", "2 failed"),
    (never_paid, "no result without an order", "paid 0 times"),
    (lambda e: media(e, is_whole=False), "media are there, whole, and the right ones", "not those of the receipt"),
    (lambda e: media(e, is_its_own=False), "media are there, whole, and the right ones", "of another order"),
    (lambda e: media(e, problem="404"), "media are there, whole, and the right ones", "404"),
    (lambda e: tried_again(e, "ticket"), "nothing is left open at the vendor", "an open ticket"),
    (lambda e: replace(e, outbox=[OUTBOX]), "the outbox is empty", "withdraw g"),
    (
        lambda e: replace(e, alarms=[{"process": "worker-1", "words": "invariant_violated"}]),
        "no bug in the logs, no alarm by the auditor",
        "worker-1 has logged",
    ),
    (
        lambda e: replace(e, orders=[*e.orders, {"kind": "complaint", "words": "no prompt"}]),
        "the vendor understood every request",
        "no prompt",
    ),
]
