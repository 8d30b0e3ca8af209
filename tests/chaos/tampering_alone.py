"""Ways to tamper with evidence of generations without a project, of batches and of webhooks."""

from dataclasses import replace
from typing import Any

from chaos.evidence import Evidence, Row
from chaos.others import EVENTS
from tests.chaos.tampering import one_of, told, with_changes, without


def succeeded(evidence: Evidence, operation: str) -> Row:
    """One that was not deleted: its media and data were looked at."""
    kept = {row["generation_id"] for row in evidence.media}
    return next(row for row in evidence.generations if row["operation"] == operation and row["id"] in kept)


def done(evidence: Evidence, name: str) -> Row:
    """A step of a sheet that has succeeded."""
    return one_of(evidence.steps, generation_id=succeeded(evidence, "sheet")["id"], name=name, state="done")


def step_paid_again(evidence: Evidence) -> Evidence:
    sheet = succeeded(evidence, "sheet")
    order = next(
        row for row in evidence.orders if row.get("step") == "back" and row["paid"] and row["marker"] in sheet["prompt"]
    )
    # As often as all steps of it were paid together: the others don't make up for it.
    return replace(evidence, orders=[*evidence.orders, *[order] * 9])


def step_tried_again(evidence: Evidence) -> Evidence:
    step = done(evidence, "back")
    return replace(evidence, steps=[*evidence.steps, {**step, "attempt": step["attempt"] + 1, "state": "failed"}])


def without_a_step(evidence: Evidence) -> Evidence:
    return replace(evidence, steps=without(evidence.steps, generation_id=done(evidence, "look")["generation_id"]))


def made(evidence: Evidence, operation: str, shape: str) -> Evidence:
    row = one_of(evidence.media, operation=operation, problem="")
    return replace(evidence, media=[{**row, "made": shape}])


def words_deleted(evidence: Evidence) -> Evidence:
    """The words are deleted, and nothing of them has gone."""
    row = succeeded(evidence, "words")
    return replace(evidence, generations=with_changes(evidence.generations, row["id"], is_deleted=True))


def told_of_words(evidence: Evidence, **changes: Any) -> Evidence:
    row = succeeded(evidence, "words")
    return told(evidence, project="", generation=row["id"], **changes)


def one_less(evidence: Evidence) -> Evidence:
    """One generation of a batch that was accepted isn't there."""
    batch = next(line.key for line in evidence.history if line.op == "batch" and line.outcome == "ok")
    row = one_of(evidence.generations, batch=batch)
    return replace(evidence, generations=without(evidence.generations, id=row["id"]))


def unordered_batch(evidence: Evidence) -> Evidence:
    row = succeeded(evidence, "words")
    return replace(evidence, generations=with_changes(evidence.generations, row["id"], batch="never-ordered"))


def taken_event(evidence: Evidence, kind: str) -> Row:
    """An event that was taken."""
    name = next(line.key for line in evidence.history if line.op == kind and line.outcome == "ok")
    return one_of(evidence.events, event_id=name)


def event_lost(evidence: Evidence) -> Evidence:
    return replace(evidence, events=without(evidence.events, event_id=taken_event(evidence, EVENTS[0])["event_id"]))


def event_changed(evidence: Evidence, kind: str, **changes: Any) -> Evidence:
    event = taken_event(evidence, kind)
    others = without(evidence.events, event_id=event["event_id"])
    return replace(evidence, events=[*others, {**event, **changes}])


def user_changed(evidence: Evidence, **changes: Any) -> Evidence:
    """Of a user who is still there, something is changed."""
    row = one_of(evidence.told_users, is_deleted=False)
    others = without(evidence.told_users, subject=row["subject"])
    return replace(evidence, told_users=[*others, {**row, **changes}])


def user_twice(evidence: Evidence) -> Evidence:
    return replace(evidence, told_users=[*evidence.told_users, evidence.told_users[0]])
