"""Checks of what clients read: never older than before, in agreement with the rows in the end, nothing deleted.

Each check yields a line per comparison (see `chaos/compared.py`).
"""

from collections import defaultdict
from collections.abc import Iterator

from chaos.compared import expect
from chaos.evidence import Evidence, Row
from chaos.history import Line

_OK, _NOT_FOUND = 200, 404
_ORDER = {"pending": 0, "processing": 1, "succeeded": 2, "failed": 2, "canceled": 2}


def answers_never_go_back(evidence: Evidence) -> Iterator[str]:
    """An answer is never older than an answer that came before the request was sent.

    A replayed answer is left out: it is as old as the first one.
    """
    answers: defaultdict[tuple[int, str], list[Line]] = defaultdict(list)
    for line in evidence.history:
        if line.outcome == "ok" and line.status_sequence and not line.replayed:
            answers[line.client, line.project].append(line)
    for lines in answers.values():
        for later in lines:
            earlier = [line for line in lines if line.answered < later.sent]
            if earlier:
                yield _compare(earlier, later)


def api_agrees_with_rows(evidence: Evidence) -> Iterator[str]:
    """In the end, the API shows projects and credits as the rows have them, to their owners only."""
    projects = {row["id"]: row for row in evidence.projects}
    statuses = {row["id"]: row["status"] for row in evidence.generations}
    balances: defaultdict[str, int] = defaultdict(int)
    for entry in evidence.entries:
        balances[entry["account_id"]] += entry["amount"]
    for read in evidence.reads:
        if read["what"] == "project":
            yield _compare_project(read, projects.get(read["id"]), statuses)
        elif read["what"] == "stranger":
            yield expect(read["status"] == _NOT_FOUND, f"project {read['id']}: a stranger was told {read['status']}")
        elif read["what"] == "credits":
            there, said = balances[read["id"]], read["said"].get("available")
            yield expect(said == there, f"account {read['id']} shows {said} credits, and its entries make {there}")
        else:
            yield from _compare_explore(read, evidence)


def what_is_deleted_is_gone(evidence: Evidence) -> Iterator[str]:
    """A deleted project, or a generation without one, has left no prompt, no data, no row of an asset and no file."""
    generations: defaultdict[str, list[Row]] = defaultdict(list)
    for row in evidence.generations:
        generations[row["project_id"] or row["id"]].append(row)
    subjects = [*evidence.projects, *(row for row in evidence.generations if not row["project_id"])]
    for subject in subjects:
        if not subject["is_deleted"]:
            continue
        of, made = subject["id"], generations[subject["id"]]
        ids = {row["id"] for row in made}
        rows = [row["key"] for row in evidence.assets if row["project_id"] == of or row["generation_id"] in ids]
        files = [name for name in evidence.files if any(generation in name for generation in ids)]
        left = [*rows, *files, *(row["prompt"] for row in (subject, *made) if row["prompt"])]
        left += [row["data"] for row in made if row["data"]]
        yield expect(not left, f"{of} is deleted, and there still is {left}")


def _compare(earlier: list[Line], later: Line) -> str:
    newest = max(line.status_sequence for line in earlier)
    if later.status_sequence < newest:
        return f"project {later.project} was at {newest}, and later at {later.status_sequence}"
    same = [line.generation_status for line in earlier if line.generation == later.generation]
    last = max(same, key=lambda status: _ORDER[status], default=later.generation_status)
    is_later = _ORDER[later.generation_status] > _ORDER[last] or (later.generation_status == last)
    return expect(is_later, f"generation {later.generation} was {last}, and later {later.generation_status}")


def _compare_project(read: Row, row: Row | None, statuses: dict[str, str]) -> str:
    if row is None:
        return f"project {read['id']} was told {read['status']}, and is not there"
    if row["is_deleted"]:
        return expect(read["status"] == _NOT_FOUND, f"project {row['id']} is deleted, and was told {read['status']}")
    shown = "published" if row["is_published"] else row["status"]
    expected = (shown, row["generation_id"], statuses.get(row["generation_id"]))
    said = tuple(read["said"].get(name) for name in ("status", "generation_id", "generation_status"))
    return expect(said == expected, f"project {row['id']} is {expected}, and {read['status']} {said} is read")


def _compare_explore(read: Row, evidence: Evidence) -> Iterator[str]:
    published, shown = {row["id"] for row in evidence.projects if row["is_published"]}, read["said"]["ids"]
    yield expect(read["status"] == _OK, f"Explore can't be read: {read['status']}")
    yield expect(len(shown) == len(set(shown)), "Explore shows a project twice")
    for project in sorted(published | set(shown)):
        wrong = "is published and not in Explore" if project in published else "is in Explore and not published"
        yield expect(project in published and project in shown, f"project {project} {wrong}")
