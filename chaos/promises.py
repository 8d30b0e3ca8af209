"""Checks of what clients were promised: acknowledged means kept, final means final, one key is one order.

Each check yields a line per comparison (see `chaos/compared.py`).
"""

from collections.abc import Iterator

from chaos.compared import expect
from chaos.evidence import Evidence, Row
from chaos.history import PAYING, Line
from chaos.keys import ALONE, NEW, Key, keys_of, marker_of

FINAL = ("succeeded", "failed", "canceled")
_NOT_FOUND = 404
_ACTS = ("delete", "publish", "cancel", "delete_generation", "cancel_generation")


def no_project_is_lost(evidence: Evidence) -> Iterator[str]:
    """An acknowledged project is there, unless its client has deleted it, or may have."""
    rows = {row["id"]: row for row in evidence.projects}
    deleting = {line.project for line in evidence.history if line.op == "delete" and line.outcome != "refused"}
    for project in sorted(_acknowledged(evidence)):
        told = f"project {project} was acknowledged"
        if project in rows:
            is_kept = not rows[project]["is_deleted"] or project in deleting
            yield expect(is_kept, f"{told}, and is deleted although nobody asked for that")
        else:
            yield f"{told} and is not there"


def no_generation_is_lost(evidence: Evidence) -> Iterator[str]:
    """An acknowledged generation is there, in the acknowledged project and of the right user."""
    rows = {row["id"]: row for row in evidence.generations}
    users = {user.client: user.user_id for user in evidence.users}
    for line in evidence.history:
        if line.op in PAYING and line.outcome == "ok":
            row, told = rows.get(line.generation), f"generation {line.generation}"
            if row is None:
                yield f"{told} was acknowledged and is not there"
            else:
                is_theirs = (row["project_id"] or "", row["user_id"]) == (line.project, users[line.client])
                yield expect(is_theirs, f"{told} is of another project or user than was acknowledged")


def everything_has_ended(evidence: Evidence) -> Iterator[str]:
    """Within the quiet time every generation has ended, and no lease is held."""
    for row in evidence.generations:
        if row["status"] not in FINAL:
            yield f"generation {row['id']} is still {row['status']}, attempt {row['attempt']}"
        else:
            is_free = row["lease_until"] is None
            yield expect(is_free, f"generation {row['id']} has ended and is leased until {row['lease_until']}")


def final_status_never_changes(evidence: Evidence) -> Iterator[str]:
    """A final status that a client was told never changes."""
    rows = {row["id"]: row["status"] for row in evidence.generations}
    told = {(line.generation, line.generation_status) for line in evidence.history if line.outcome == "ok"}
    for generation, status in sorted(told):
        if status in FINAL:
            now = rows.get(generation, "not there")
            yield expect(now == status, f"generation {generation} was told to be {status} and is {now}")


def acknowledged_acts_are_done(evidence: Evidence) -> Iterator[str]:
    """Acknowledged acts are done: deleted is gone, published is public, canceled is canceled."""
    rows = {row["id"]: row for row in (*evidence.projects, *evidence.generations)}
    for line in evidence.history:
        row = rows.get(line.project or line.generation)
        if row is not None and line.outcome == "ok" and line.op in _ACTS:
            yield _check_done(line, row)


def _check_done(line: Line, row: Row) -> str:
    """Return what is wrong after an acknowledged act, or nothing."""
    if line.op.startswith("delete"):
        return expect(row["is_deleted"], f"{line.project or line.generation} was deleted and is there")
    if line.op == "publish":
        is_public = row["is_published"] or row["is_deleted"]
        return expect(is_public, f"project {line.project} was published and is not public")
    is_canceled = line.generation_status == "canceled"
    return expect(is_canceled, f"{line.project or line.generation} was canceled and shows {line.generation_status}")


def a_key_is_one_order(evidence: Evidence) -> Iterator[str]:
    """All definite answers to an acknowledged key name the same project and generation.

    A refusal before the first of them does not consume the key. Once its project is deleted, 404 is right.
    """
    deleted = evidence.deleted
    for key in keys_of(evidence.history).values():
        told = {(line.project, line.generation) for line in key.lines if line.outcome == "ok"}
        known = min((line.answered for line in key.lines if line.outcome == "ok"), default=0)
        refused = [line for line in key.lines if line.outcome == "refused" and line.sent > known]
        codes = sorted({line.code for line in refused if not (line.status == _NOT_FOUND and key.is_among(deleted))})
        if told:
            orders = "; ".join(f"generation {generation} of project {project}" for project, generation in sorted(told))
            words = f"was told {len(told)} different orders: {orders}"
            yield expect(len(told) == 1, f"key {key.name} ({key.op}) {words}")
            yield expect(not codes, f"key {key.name} ({key.op}) was acknowledged, and also refused: {', '.join(codes)}")


def nothing_unasked_for(evidence: Evidence) -> Iterator[str]:
    """Every generation that no answer has named belongs to a key of unknown outcome, one each.

    With the marker of an acknowledged key, it is a second purchase; of a refused key, a purchase despite a 4xx.
    """
    keys = keys_of(evidence.history)
    told = {generation for key in keys.values() for generation in key.generations}
    unknown = [key for key in keys.values() if key.outcome == "info"]
    projects = _acknowledged(evidence)
    for row in evidence.generations:
        if row["id"] in told or row["batch"]:  # batches are another check's
            yield ""
            continue
        marked = keys.get(marker_of(row["prompt"]))
        own = marked if marked and _is_own(marked, row, projects) else None
        buyer = _find_buyer(row, own, unknown)
        if buyer:
            unknown.remove(buyer)
        may_be = buyer or (_may_be_twice(own, row, keys) and not evidence.checks_idempotency)
        yield "" if may_be else _describe_unasked(row, own)


def _is_own(key: Key, row: Row, projects: set[str]) -> bool:
    """Tell whether the prompt's marker is of this order, and not of an earlier one that was placed again."""
    if key.op not in ALONE:
        return bool(key.project == row["project_id"])
    return row["project_id"] not in projects if key.op in NEW else not row["project_id"]


def _find_buyer(row: Row, own: Key | None, unknown: list[Key]) -> Key | None:
    """Return the key of unknown outcome that may have bought this generation."""
    if own:
        return own if own in unknown else None
    here = [key for key in unknown if key.project == row["project_id"] and key.op not in ALONE]
    if row["prompt"]:  # not erased; a film's prompt would have its own marker
        here = [key for key in here if key.op == "again"]
    return here[0] if here else None


def _may_be_twice(own: Key | None, row: Row, keys: dict[str, Key]) -> bool:
    """Tell whether a repeated request may have bought this, in a version that ignores keys."""
    here = [own] if own else [key for key in keys.values() if key.project == row["project_id"]]
    return any(key.was_repeated_unanswered for key in here)


def _describe_unasked(row: Row, own: Key | None) -> str:
    if own is None:
        return f"generation {row['id']} ({row['operation']}, {row['status']}): nobody asked for it"
    what = {"ok": "acknowledged with another id", "refused": "refused", "info": "of unknown outcome, and bought more"}
    return f"generation {row['id']} was bought by key {own.name} ({own.op}), which was {what[own.outcome]}"


def no_alarm_was_raised(evidence: Evidence) -> Iterator[str]:
    """No process has logged a bug, and the auditor in the workers has found no violation."""
    for alarm in evidence.alarms:
        yield f"{alarm['process']} has logged {alarm['words']}"


def every_invariant_holds(evidence: Evidence) -> Iterator[str]:
    """The auditor's invariants hold at the end."""
    for found in evidence.invariants:
        if not found["is_counted"]:
            words = f"{found['name']}: {found['violations']} of {found['checked']}, {found['examples'][:3]}"
            yield expect(found["violations"] == 0, words)


def everybody_ends_when_asked(evidence: Evidence) -> Iterator[str]:
    """Each process has ended in time and properly after SIGTERM."""
    for name, wrong in evidence.endings.items():
        yield from [f"{name}: {words}" for words in wrong] or [""]


def _acknowledged(evidence: Evidence) -> set[str]:
    named = {line.project for line in evidence.history if line.op in PAYING and line.outcome == "ok"}
    return named - {""}
