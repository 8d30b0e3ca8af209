"""A short run, in which everything is switched off and nothing is lost; and does every check bite?

Each check gets what that run has left, with one thing tampered with. All in one file, so that one run is enough.
"""

import json
import random
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import psutil
import pytest

from chaos.checker import CHECKS, MAY_BE_EMPTY, NOTHING, judge
from chaos.evidence import Evidence
from chaos.faults import KINDS
from chaos.keys import keys_of, marker_of
from chaos.nemesis import LOG
from chaos.rude import Draw, Limits
from chaos.strangers import KINDS as KINDS_OF_STRANGERS
from tests.chaos.conftest import Run
from tests.chaos.tampered import TAMPERED
from tests.chaos.tampering import (
    acknowledged,
    calm,
    deleted,
    failed_as,
    one_of,
    paid_again,
    still_at_work,
    stopped,
    tried_again,
    twice_for_a_key,
)


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
    assert {line["kind"] for line in lines} == {kind.name for kind in KINDS}
    had_effect = {line["kind"] for line in lines if line["effect"]}
    assert len(had_effect) >= len(KINDS) - 2  # on a busy machine, a line may never be in use when it is to be cut
    assert all(f"│ {kind} " in short_run.printed for kind in had_effect)


async def test_every_kind_of_stranger_has_come(short_run: Run) -> None:
    """Each is tried again until somebody listens, so most have reached an API process, too."""
    draw = Draw(random.Random(1), "a key", Limits(1, 1))
    kinds = {kind(draw).name for kind in KINDS_OF_STRANGERS}
    rows = short_run.evidence().strangers
    assert {row["act"] for row in rows} == kinds
    assert len({row["act"] for row in rows if row["end"] in {"answered", "closed"}}) > len(kinds) // 2
    assert {status for row in rows for status in row["statuses"]} >= {401, 422, 431}
    assert all(f"│ {kind} " in short_run.printed for kind in kinds)


async def test_clients_were_at_work_meanwhile(short_run: Run) -> None:
    evidence = short_run.evidence()
    assert len(keys_of(evidence.history)) > 5
    assert {line.outcome for line in evidence.history} >= {"ok", "info"}
    assert sum(row["status"] == "succeeded" for row in evidence.generations) > 2
    assert evidence.media


async def test_nothing_is_left_running(short_run: Run) -> None:
    assert [each for each in psutil.process_iter() if str(short_run.folder) in surroundings(each)] == []


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
    evidence = paid_again(tried_again(short_run.evidence(), "failed", "provider_rejected"))
    assert "no generation is bought twice" not in problems(evidence)
    assert "nothing is ordered after a possible bill" not in problems(evidence)


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


async def test_a_check_that_has_looked_at_nothing_says_so(short_run: Run) -> None:
    evidence = replace(short_run.evidence(), is_quick=False)
    empty = Evidence(history=[], users=[])
    nothing = {name for name, found in problems(empty).items() if found == [NOTHING]}
    assert nothing == set(CHECKS) - set(MAY_BE_EMPTY)
    assert problems(replace(empty, is_quick=True)) == {}
    assert problems(replace(evidence, media=[]))["media are there, whole, and the right ones"] == [NOTHING]


async def test_what_was_refused_before_may_be_bought_later(short_run: Run) -> None:
    evidence = short_run.evidence()
    line = acknowledged(evidence)
    no: dict[str, Any] = {"outcome": "refused", "status": 409, "code": "generating", "project": "", "generation": ""}
    early = replace(evidence, history=[replace(line, **no, sent=1.0, answered=2.0), *evidence.history])
    late = replace(evidence, history=[*evidence.history, replace(line, **no, sent=2e10, answered=2e10)])
    for check in ("one key is one order", "nothing bought is refused"):
        assert f"key {line.key} " not in str(problems(early).get(check, []))
        assert f"key {line.key} " in str(problems(late)[check])


async def test_a_deleted_projects_key_may_be_told_that_there_is_none(short_run: Run) -> None:
    evidence = calm(short_run.evidence(), outcome="refused", status=404, code="not_found")
    line = acknowledged(evidence)
    gone = deleted(evidence)
    asked = replace(gone, history=[*gone.history, replace(line, op="delete", key="", sent=line.answered)])
    for check in ("every key is answered in the end", "one key is one order", "refused and failed for a reason"):
        assert line.key in str(problems(evidence)[check])
        assert line.key not in str(problems(asked).get(check, []))


async def test_who_has_no_credits_may_be_told_so(short_run: Run) -> None:
    evidence = short_run.evidence()
    line = acknowledged(evidence)
    told_no = replace(line, key="no", marker="no", outcome="refused", status=402, code="insufficient_credits")
    account = next(user.account_id for user in evidence.users if user.client == line.client)
    (first,) = [row for row in evidence.entries if row["account_id"] == account and row["kind"] == "grant"]
    spent = [*evidence.entries, {**first, "kind": "debit", "amount": -999_997}]
    poor = replace(evidence, history=[told_no], entries=spent)
    assert "402" in str(problems(replace(poor, entries=evidence.entries))["refused and failed for a reason"])
    assert "402" not in str(problems(poor).get("refused and failed for a reason", []))


async def test_what_is_old_enough_may_expire(short_run: Run) -> None:
    young = failed_as(short_run.evidence(), "expired")
    check = "refused and failed for a reason"
    old = replace(young, max_age=0.0, history=[replace(line, calm=False) for line in young.history])
    assert "failed as expired" in str(problems(replace(old, max_age=3600.0))[check])
    assert "failed as expired" not in str(problems(old).get(check, []))


async def test_once_all_serve_only_what_never_gets_ready_may_expire(short_run: Run) -> None:
    evidence = replace(failed_as(short_run.evidence(), "expired"), max_age=0.0)
    line = replace(acknowledged(evidence), calm=True, sent=1.0, answered=2.0)
    calm_before = replace(evidence, history=[line, *evidence.history])
    check = "refused and failed for a reason"
    assert "failed as expired" in str(problems(calm_before)[check])
    never = still_at_work(calm_before, line.generation)
    assert "failed as expired" not in str(problems(never).get(check, []))


async def test_a_stuck_film_whose_vendor_could_not_be_asked_for_long_is_given_up(short_run: Run) -> None:
    evidence = short_run.evidence()
    row = one_of(evidence.generations, status="succeeded")

    def given_up(after: int) -> Evidence:
        evidence_then = still_at_work(evidence, row["id"])
        at = (datetime.fromisoformat(row["finished_at"]) + timedelta(seconds=after)).isoformat()
        return replace(evidence_then, steps=[*evidence_then.steps[:-1], {**evidence_then.steps[-1], "ended_at": at}])

    assert "nothing is left open at the vendor" in problems(given_up(60))
    assert "nothing is left open at the vendor" not in problems(given_up(420))


@pytest.mark.parametrize("tamper", [stopped, still_at_work])
async def test_what_the_vendors_book_says_is_stopped_is_fine(
    short_run: Run, tamper: Callable[[Evidence], Evidence]
) -> None:
    evidence = tamper(short_run.evidence())
    asked = replace(evidence, orders=[*evidence.orders, {"kind": "cancel", "ticket": "v1_x"}])
    assert "nothing is left open at the vendor" not in problems(asked)


async def test_without_keys_a_repeated_request_may_buy_twice(short_run: Run) -> None:
    evidence = short_run.evidence()
    line = acknowledged(evidence)
    unanswered = replace(line, outcome="info", project="", generation="", generation_status="")
    repeated = replace(evidence, history=[unanswered, *evidence.history])
    check = "nobody paid for what they didn't ask for"
    assert "twin" in str(problems(twice_for_a_key(repeated))[check])
    assert "twin" not in str(problems(replace(twice_for_a_key(repeated), checks_idempotency=False)).get(check, []))
