"""What administrators see of the audit, and what Prometheus does."""

import math
from typing import Any

import httpx
import pytest

from tallyframe.audit import rows
from tallyframe.audit.base import Example, Finding
from tallyframe.audit.invariants import INVARIANTS
from tallyframe.db import Database
from tests.audit.conftest import Audits, World
from tests.conftest import ClientFor, enroll
from tests.observability.test_metrics import value
from tests.support.cast import Member
from tests.support.remains import problem

PATH = "/v1/admin/audit"
AGE = "tallyframe_audit_age_seconds"
OVERDUE = "tallyframe_audit_overdue"


@pytest.fixture
async def admin(db: Database, client_for: ClientFor) -> Member:
    return await enroll(db, client_for, "admin@example.com", 0, admin=True)


async def shown(admin: Member) -> dict[str, Any]:
    answer = await admin.http.get(PATH)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


def by_name(body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {each["name"]: each for each in (*body["invariants"], *body["counts"])}


async def test_only_administrators_see_it(alice: Member, anybody: httpx.AsyncClient) -> None:
    problem(await anybody.get(PATH), 401, "unauthenticated")
    problem(await alice.http.get(PATH), 403, "forbidden")


async def test_before_the_first_check(admin: Member, anybody: httpx.AsyncClient) -> None:
    body = await shown(admin)
    assert set(body) == {"is_well", "invariants", "counts"}
    assert body["is_well"] is False
    assert [each["name"] for each in body["counts"]] == ["in_doubt", "uploads_without_row"]
    found = by_name(body)
    assert set(found) == {invariant.name for invariant in INVARIANTS}
    for each in found.values():
        nothing: dict[str, Any] = {
            "checked_at": None,
            "milliseconds": None,
            "checked": None,
            "is_overdue": True,
            "examples": [],
        }
        what = "count" if each in body["counts"] else "violations"
        assert each == {"name": each["name"], "meaning": each["meaning"], **nothing, what: None}
    text = (await anybody.get("/metrics")).text
    assert value(text, f'{AGE}{{invariant="chains_hold"}}') == math.inf
    assert value(text, f'{OVERDUE}{{invariant="chains_hold"}}') == 1
    assert "\ntallyframe_audit_violations{" not in text
    assert "\ntallyframe_in_doubt " not in text


async def test_all_is_well(admin: Member, world: World, audits: Audits, anybody: httpx.AsyncClient) -> None:
    await audits.auditor().round()
    body = await shown(admin)
    assert body["is_well"] is True
    assert {each["violations"] for each in body["invariants"]} == {0}
    balances = by_name(body)["balances_are_sums"]
    assert (balances["checked"], balances["violations"], balances["is_overdue"]) == (2, 0, False)
    assert balances["checked_at"].endswith("Z")
    assert balances["milliseconds"] >= 0
    text = (await anybody.get("/metrics")).text
    for invariant in INVARIANTS:
        assert 0 <= value(text, f'{AGE}{{invariant="{invariant.name}"}}') < 600
        assert value(text, f'{OVERDUE}{{invariant="{invariant.name}"}}') == 0
        assert value(text, f'tallyframe_audit_checked{{invariant="{invariant.name}"}}') >= 0
        if not invariant.is_counted:
            assert value(text, f'tallyframe_audit_violations{{invariant="{invariant.name}"}}') == 0
    assert 'tallyframe_audit_violations{invariant="in_doubt"}' not in text
    assert value(text, "tallyframe_in_doubt") == 0


async def test_a_violation_is_shown_with_what_it_is_about(
    admin: Member, world: World, audits: Audits, owner: Any, anybody: httpx.AsyncClient
) -> None:
    await owner.execute("UPDATE generations SET error_message = '' WHERE status = 'failed'")
    await audits.auditor().round()
    body = await shown(admin)
    assert body["is_well"] is False
    assert {each["name"] for each in body["invariants"] if each["violations"]} == {"failure_has_a_reason"}
    found = by_name(body)["failure_has_a_reason"]
    [example] = found["examples"]
    assert (found["checked"], found["violations"]) == (2, 1)
    assert example["subject"] == str(world.generations["failed"])
    assert "without a word" in example["detail"]
    text = (await anybody.get("/metrics")).text
    assert value(text, 'tallyframe_audit_violations{invariant="failure_has_a_reason"}') == 1


async def test_doubts_are_counted_and_no_violation(
    admin: Member, world: World, audits: Audits, owner: Any, anybody: httpx.AsyncClient
) -> None:
    failed = world.generations["failed"]
    await owner.execute("UPDATE generation_steps SET state = 'in_doubt' WHERE generation_id = $1", failed)
    await audits.auditor().round()
    body = await shown(admin)
    assert body["is_well"] is True
    doubts = by_name(body)["in_doubt"]
    assert (doubts["count"], [each["subject"] for each in doubts["examples"]]) == (1, [str(failed)])
    assert value((await anybody.get("/metrics")).text, "tallyframe_in_doubt") == 1


async def test_an_auditor_that_does_not_run_is_seen(
    admin: Member, audits: Audits, owner: Any, anybody: httpx.AsyncClient
) -> None:
    await audits.auditor().round()
    await owner.execute("UPDATE audits SET checked_at = now() - interval '1 hour' WHERE name = 'chains_hold'")
    body = await shown(admin)
    assert body["is_well"] is False
    assert [each["name"] for each in body["invariants"] if each["is_overdue"]] == ["chains_hold"]
    text = (await anybody.get("/metrics")).text
    assert value(text, f'{AGE}{{invariant="chains_hold"}}') >= 3600
    overdue = {each.name: value(text, f'{OVERDUE}{{invariant="{each.name}"}}') for each in INVARIANTS}
    assert [name for name, is_so in overdue.items() if is_so] == ["chains_hold"]


async def test_what_takes_long_is_not_overdue_when_others_are(
    admin: Member, audits: Audits, owner: Any, anybody: httpx.AsyncClient
) -> None:
    await audits.auditor().round()
    await owner.execute("UPDATE audits SET checked_at = now() - interval '1 hour'")
    await owner.execute("UPDATE audits SET milliseconds = 180000 WHERE name = 'chains_hold'")
    text = (await anybody.get("/metrics")).text
    found = [value(text, f'{OVERDUE}{{invariant="{name}"}}') for name in ("chains_hold", "debited_once")]
    assert found == [0, 1]
    assert not by_name(await shown(admin))["chains_hold"]["is_overdue"]


async def test_of_many_examples_the_first_are_shown(admin: Member, db: Database) -> None:
    examples = [Example(str(number), "is wrong") for number in range(50)]
    await rows.write(db, "files_have_bytes", Finding(90, 50, examples), milliseconds=1)
    found = by_name(await shown(admin))["files_have_bytes"]
    assert (found["violations"], len(found["examples"])) == (50, 20)
