"""A short run, in which everything is switched off and nothing is lost; and does every check bite?

Each check gets what that run has left, with one thing tampered with. All in one file, so that one run is enough.
"""

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psutil
import pytest

from chaos.checker import CHECKS, judge
from chaos.evidence import Evidence, Row
from chaos.faults import KINDS
from chaos.history import Line
from chaos.keys import keys_of, marker_of
from chaos.nemesis import LOG
from tests.chaos.conftest import Run


def surroundings(process: psutil.Process) -> str:
    try:
        return f"{process.cwd()} {process.cmdline()}"
    except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
        return ""


async def test_nothing_is_lost(short_run: Run) -> None:
    assert short_run.code == 0, short_run.printed
    assert "VIOLATED" not in short_run.printed


async def test_every_kind_of_fault_has_come(short_run: Run) -> None:
    lines = [json.loads(line) for line in (short_run.folder / LOG).read_text().splitlines()]
    counts = Counter(line["kind"] for line in lines)
    assert set(counts) == {kind.name for kind in KINDS}
    assert all(f"│ {kind} " in short_run.printed for kind in counts)


async def test_clients_were_at_work_meanwhile(short_run: Run) -> None:
    evidence = short_run.evidence()
    assert len(keys_of(evidence.history)) > 5
    assert {line.outcome for line in evidence.history} >= {"ok", "info"}
    assert sum(row["status"] == "succeeded" for row in evidence.generations) > 2
    assert evidence.media


async def test_nothing_is_left_running(short_run: Run) -> None:
    assert [each for each in psutil.process_iter() if str(short_run.folder) in surroundings(each)] == []


def acknowledged(evidence: Evidence) -> Line:
    """A new image that is there and has succeeded."""
    kept = {row["generation_id"] for row in evidence.media}
    return next(line for line in evidence.history if line.op == "image" and line.generation in kept)


def without(rows: list[Row], **values: Any) -> list[Row]:
    return [row for row in rows if not all(row[name] == value for name, value in values.items())]


def with_changes(rows: list[Row], row_id: str, **changes: Any) -> list[Row]:
    return [{**row, **changes} if row["id"] == row_id else row for row in rows]


def one_of(rows: list[Row], **values: Any) -> Row:
    return next(row for row in rows if all(row[name] == value for name, value in values.items()))


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
    (lambda e: told(e, op="poll", generation_status="failed"), "what was told to be final is final", "is succeeded"),
    (lambda e: told(e, op="delete"), "deleted, published and canceled are so", "was deleted and is there"),
    (lambda e: told(e, op="cancel", generation_status="pending"), "deleted, published and canceled are so", "pending"),
    (lambda e: told(e, generation=other(e)), "one key is one order", "2 different orders"),
    (lambda e: told(e, outcome="refused", code="generating"), "one key is one order", "also refused: generating"),
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
        lambda e: tried_again(paid_again(e), "failed", "provider_unavailable"),
        "no generation is bought twice",
        "paid 2 times",
    ),
    (lambda e: tried_again(e, "in_doubt"), "what may be billed is the last order", "0 in_doubt"),
    (lambda e: tried_again(e, "failed", attempt=2), "what may be billed is the last order", "2 failed"),
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


def problems(evidence: Evidence) -> dict[str, list[str]]:
    return {verdict.name: verdict.problems for verdict in judge(evidence) if not verdict.is_ok}


@pytest.mark.parametrize(
    ("tamper", "check", "words"), TAMPERED, ids=lambda value: value if isinstance(value, str) else ""
)
async def test_tampering_is_seen(
    short_run: Run, tamper: Callable[[Evidence], Evidence], check: str, words: str
) -> None:
    evidence = short_run.evidence()
    before = problems(evidence).get(check, [])
    new = [problem for problem in problems(tamper(evidence))[check] if problem not in before]
    assert any(words in problem for problem in new), new


def test_no_check_is_left_untried() -> None:
    assert {check for _, check, _ in TAMPERED} == set(CHECKS)


async def test_an_answer_without_a_result_may_be_billed_and_ordered_again(short_run: Run) -> None:
    evidence = tried_again(paid_again(short_run.evidence()), "failed", "provider_rejected")
    assert "no generation is bought twice" not in problems(evidence)
    assert "what may be billed is the last order" not in problems(evidence)


async def test_a_key_of_unknown_outcome_may_have_bought_once_and_not_twice(short_run: Run) -> None:
    evidence = short_run.evidence()
    line = acknowledged(evidence)
    key = line.key
    lost: dict[str, Any] = {"outcome": "info", "project": "", "generation": "", "generation_status": ""}
    others = [one for one in evidence.history if one.project != line.project]
    unknown = replace(evidence, history=[*others, replace(line, **lost)])
    check = "nobody paid for what they didn't ask for"
    assert key not in str(problems(unknown).get(check, []))
    bought = one_of(evidence.generations, id=line.generation)
    assert marker_of(bought["prompt"]) == key
    twice = replace(unknown, generations=[*unknown.generations, {**bought, "id": "twin"}])
    assert f"key {key}" in str(problems(twice)[check])


async def test_without_keys_a_repeated_request_may_buy_twice(short_run: Run) -> None:
    evidence = short_run.evidence()
    line = acknowledged(evidence)
    unanswered = replace(line, outcome="info", project="", generation="", generation_status="")
    repeated = replace(evidence, history=[unanswered, *evidence.history])
    check = "nobody paid for what they didn't ask for"
    assert "twin" in str(problems(twice_for_a_key(repeated))[check])
    assert "twin" not in str(problems(replace(twice_for_a_key(repeated), checks_idempotency=False)).get(check, []))
