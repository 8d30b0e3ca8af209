"""Each invariant, broken on purpose, is found and named, and so is what breaks it; nothing else is."""

from pathlib import Path
from typing import Any

import pytest

from tallyframe.audit.invariants import INVARIANTS
from tallyframe.ids import new_id
from tallyframe.ledger.verify import CHECKS
from tests.audit.conftest import Audits, World, subjects
from tests.support.cast import Member
from tests.support.postings import falsify

#: What is done → the invariants that must be found broken, each with what it must name, and no others.
BROKEN: dict[str, tuple[list[str], dict[str, str]]] = {
    "a balance is raised": (
        ["UPDATE accounts SET balance = balance + 1 WHERE id = '{account}'"],
        {"balances_are_sums": "account"},
    ),
    "a hash is changed": (
        ["UPDATE ledger_entries SET hash = sha256('x') WHERE generation_id = '{done}'"],
        {"chains_hold": "account"},
    ),
    "a head is changed": (["UPDATE accounts SET head = 'x' WHERE id = '{account}'"], {"chains_hold": "account"}),
    "a price is changed": (["UPDATE generations SET credits = 1 WHERE id = '{done}'"], {"debited_once": "account"}),
    "a success is called a failure": (
        [
            """UPDATE generations SET status = 'failed', error_code = 'internal', error_message = 'no'
               WHERE id = '{done}'"""
        ],
        {"refunded_once": "account"},
    ),
    "a refund names another debit": (
        [
            """UPDATE ledger_entries AS r SET reverses_entry_id = d.id FROM ledger_entries AS d
               WHERE r.kind = 'refund' AND r.generation_id = '{failed}' AND d.generation_id = '{done}'"""
        ],
        {"refunds_match_debits": "account", "chains_hold": "account"},
    ),
    "a generation is given to somebody else": (
        ["UPDATE generations SET user_id = '{bob}' WHERE id = '{done}'"],
        {"entries_have_their_cause": "account"},
    ),
    "a guard of the books is gone": (
        ["DROP TRIGGER account_no_delete ON accounts"],
        {"guards_are_in_place": "guards"},
    ),
    "the call to a pending generation is lost": (
        ["DELETE FROM outbox WHERE ref = '{pending}'"],
        {"no_stranded_generation": "pending"},
    ),
    "the call to a waiting generation is lost": (
        ["DELETE FROM outbox WHERE ref = '{waiting}'"],
        {"no_stranded_generation": "waiting"},
    ),
    "a lease has run out and nobody was called": (
        [
            "DELETE FROM outbox WHERE ref = '{waiting}'",
            "UPDATE generations SET lease_until = now() - interval '1 hour' WHERE id = '{waiting}'",
        ],
        {"no_stranded_generation": "waiting"},
    ),
    "a lease runs until tomorrow": (
        ["UPDATE generations SET lease_until = now() + interval '1 day' WHERE id = '{waiting}'"],
        {"no_endless_lease": "waiting"},
    ),
    "a generation is live past its age": (
        ["UPDATE generations SET expires_at = now() - interval '1 hour' WHERE id = '{pending}'"],
        {"no_overdue_generation": "pending"},
    ),
    "two live generations are of one project": (
        [
            "DROP INDEX uq_generations_one_live_per_slot",  # which refuses the second
            "UPDATE generations SET project_id = '{pending_project}' WHERE id = '{waiting}'",
        ],
        {"one_generation_at_a_time": "pending_project", "projects_show_their_latest": "waiting_project"},
    ),
    "an output's row is gone": (
        ["DELETE FROM assets WHERE generation_id = '{done}'"],
        {"success_has_a_result": "done", "shown_media_exist": "done_project"},
    ),
    "a failure has no words": (
        ["UPDATE generations SET error_message = '' WHERE id = '{failed}'"],
        {"failure_has_a_reason": "failed"},
    ),
    "a project shows a failure that isn't one": (
        ["UPDATE projects SET status = 'failed' WHERE id = '{done_project}'"],
        {"projects_show_their_latest": "done_project"},
    ),
    "a project still generates though nothing does": (
        ["UPDATE projects SET status = 'processing' WHERE id = '{canceled_project}'"],
        {"projects_show_their_latest": "canceled_project"},
    ),
    "a project shows a generation that isn't there": (
        ["UPDATE projects SET generation_id = gen_random_uuid() WHERE id = '{done_project}'"],
        {"projects_show_their_latest": "done_project"},
    ),
    "a draft has nothing to see": (
        ["DELETE FROM project_media WHERE project_id = '{done_project}'"],
        {"shown_media_exist": "done_project"},
    ),
    "a ticket of a failed generation is asked for by nobody": (
        [
            "UPDATE generation_steps SET state = 'ticket', ticket = 't' WHERE generation_id = '{failed}'",
            "UPDATE generations SET finished_at = now() - interval '1 hour' WHERE id = '{failed}'",
        ],
        {"no_forgotten_order": "failed"},
    ),
    "an intent of a failed generation, for which a call was rung for a day": (
        [
            "UPDATE generation_steps SET state = 'intent' WHERE generation_id = '{failed}'",
            "UPDATE generations SET finished_at = now() - interval '25 hours' WHERE id = '{failed}'",
            "INSERT INTO outbox (kind, ref, rings) VALUES ('withdraw', '{failed}', 31)",
        ],
        {"no_forgotten_order": "failed"},
    ),
    "a doubt has a ticket that nobody withdraws": (
        [
            "UPDATE generation_steps SET state = 'in_doubt', ticket = 't' WHERE generation_id = '{failed}'",
            "UPDATE generations SET finished_at = now() - interval '1 hour' WHERE id = '{failed}'",
        ],
        {"no_forgotten_order": "failed", "in_doubt": "failed"},
    ),
    "a step is ordered again after it was done": (
        [
            """INSERT INTO generation_steps (generation_id, name, attempt, state, provider, model)
               SELECT generation_id, name, attempt + 1, 'failed', provider, model FROM generation_steps
               WHERE generation_id = '{done}'"""
        ],
        {"steps_are_bought_once": "done"},
    ),
    "a deleted project is erased by nobody": (
        ["UPDATE projects SET deleted_at = now() WHERE id = '{done_project}'"],
        {"deleted_is_erased": "done_project"},
    ),
    "a deleted project could not be erased for a day": (
        [
            "UPDATE projects SET deleted_at = now() - interval '25 hours' WHERE id = '{done_project}'",
            "INSERT INTO outbox (kind, ref, rings) VALUES ('erase_project', '{done_project}', 31)",
        ],
        {"deleted_is_erased": "done_project"},
    ),
    "the data of a deleted generation is left": (
        [
            "UPDATE projects SET deleted_at = now() WHERE id = '{done_project}'",
            "INSERT INTO outbox (kind, ref) VALUES ('erase_project', '{done_project}')",
            """INSERT INTO generations (id, user_id, account_id, operation, input, output, credits, status, step, turn,
                                        expires_at, started_at, finished_at, deleted_at)
               SELECT '{event}', user_id, account_id, operation, '{{"prompt": ""}}', '{{"words": "x"}}', 0, status,
                      step, turn, expires_at, started_at, finished_at, now()
               FROM generations WHERE id = '{done}'""",
        ],
        {"deleted_is_erased": "event"},
    ),
    "of the order of a deleted generation, all but the prompt is left": (
        [
            "UPDATE projects SET deleted_at = now() WHERE id = '{done_project}'",
            "INSERT INTO outbox (kind, ref) VALUES ('erase_project', '{done_project}')",
            """INSERT INTO generations (id, user_id, account_id, operation, input, credits, status, step, turn,
                                        expires_at, started_at, finished_at, deleted_at)
               SELECT '{event}', user_id, account_id, operation, '{{"prompt": "", "topic": "x"}}', 0, status,
                      step, turn, expires_at, started_at, finished_at, now()
               FROM generations WHERE id = '{done}'""",
        ],
        {"deleted_is_erased": "event"},
    ),
    "an event of a webhook waits for an hour": (
        [
            """INSERT INTO webhook_events (id, source, event_id, type, status, body, received_at)
               VALUES ('{event}', 'clerk', 'msg_1', 'user.created', 'received', '', now() - interval '61 minutes')"""
        ],
        {"webhooks_are_applied": "event"},
    ),
    "nobody knows what became of an order": (
        ["UPDATE generation_steps SET state = 'in_doubt' WHERE generation_id = '{failed}'"],
        {"in_doubt": "failed"},
    ),
}


@pytest.mark.parametrize("what", BROKEN)
async def test_it_is_found_and_named(
    rich: Member, bob: Member, world: World, audits: Audits, owner: Any, what: str
) -> None:
    assert await audits.violated() == {}
    names: dict[str, object] = {**world.names, "account": rich.user.account_id, "bob": bob.user.id}
    names |= {"guards": "the guards are in place", "event": new_id()}
    statements, expected = BROKEN[what]
    await falsify(owner, *(statement.format(**names) for statement in statements))
    found = await audits.violated()
    assert set(found) == set(expected)
    for invariant, name in expected.items():
        assert set(subjects(found[invariant])) == {str(names[name])}
        assert found[invariant].checked > 0
        assert all(len(example.detail) > 5 for example in found[invariant].examples)


@pytest.mark.parametrize(
    "statements",
    [
        ["UPDATE generations SET finished_at = now() - interval '1 hour' WHERE id = '{failed}'"],
        [
            "UPDATE generations SET finished_at = now() - interval '1 hour' WHERE id = '{failed}'",
            "INSERT INTO outbox (kind, ref, rings) VALUES ('withdraw', '{failed}', 31)",
        ],
        [
            "UPDATE generations SET finished_at = now() - interval '25 hours' WHERE id = '{failed}'",
            "INSERT INTO outbox (kind, ref, rings) VALUES ('withdraw', '{failed}', 9)",
        ],
        ["UPDATE generations SET lease_until = now() + interval '1 minute' WHERE id = '{waiting}'"],
        ["UPDATE generations SET expires_at = now() + interval '1 minute' WHERE id = '{pending}'"],
        [
            "UPDATE projects SET deleted_at = now() WHERE id = '{done_project}'",
            "INSERT INTO outbox (kind, ref) VALUES ('erase_project', '{done_project}')",
            "DELETE FROM assets",
        ],
        [
            """INSERT INTO generation_steps (generation_id, name, attempt, state, provider, model)
               SELECT generation_id, name, attempt + 1, state, provider, model FROM generation_steps
               WHERE generation_id = '{failed}'"""
        ],
        ["UPDATE generation_steps SET state = 'in_doubt', resolution = 'settled' WHERE generation_id = '{failed}'"],
        [
            """INSERT INTO webhook_events (source, event_id, type, status, body, received_at)
               VALUES ('clerk', 'msg_1', 'user.created', 'received', '', now() - interval '59 minutes'),
                      ('clerk', 'msg_2', 'user.created', 'applied', '', now() - interval '61 minutes')"""
        ],
    ],
)
async def test_what_is_no_violation(world: World, audits: Audits, owner: Any, statements: list[str]) -> None:
    for statement in statements:
        assert not (await owner.execute(statement.format(**world.names))).endswith(" 0")
    assert await audits.violated() == {}


async def test_many_are_counted_and_the_first_are_shown(rich: Member, audits: Audits, owner: Any) -> None:
    for number in range(25):
        await rich.order(f"cup {number}")
    await owner.execute("DELETE FROM outbox")
    await owner.execute("UPDATE projects SET status = 'failed'")
    found = await audits.violated()
    assert set(found) == {"no_stranded_generation", "projects_show_their_latest"}
    for finding in found.values():
        assert (finding.violations, len(finding.examples)) == (25, 20)


def test_every_check_of_the_books_is_part_of_an_invariant() -> None:
    checks = [name for invariant in INVARIANTS for name in getattr(invariant, "checks", ())]
    assert sorted(checks) == sorted(CHECKS)


def test_every_invariant_says_what_it_means() -> None:
    assert len({invariant.name for invariant in INVARIANTS}) == len(INVARIANTS)
    assert all(invariant.meaning.endswith(".") for invariant in INVARIANTS)


def test_every_invariant_is_in_the_handbook() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text()
    section = page.split("\n## The auditor\n")[1].split("\n## ")[0]
    assert [invariant.name for invariant in INVARIANTS if f"`{invariant.name}`" not in section] == []
