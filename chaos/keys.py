"""The outcome of each Idempotency-Key, as far as its client knows."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass

from chaos.history import FREE, PAYING, Line, Outcome

NEW = ("image", "video")  # these make a project
ALONE = (*NEW, *FREE)  # these are about nothing that is there before; the others order for an existing project


@dataclass(frozen=True, slots=True)
class Key:
    """All attempts with one key. `project` is empty if the key orders a new one, and no answer has named it."""

    name: str
    op: str
    client: int
    lines: tuple[Line, ...]

    @property
    def outcome(self) -> Outcome:
        """Return ok if any attempt was acknowledged, refused if all were refused, otherwise info: nobody knows."""
        outcomes = {line.outcome for line in self.lines}
        if "ok" in outcomes:
            return "ok"
        return "refused" if outcomes == {"refused"} else "info"

    @property
    def generations(self) -> set[str]:
        """Return the ids that the client has got."""
        return {line.generation for line in self.lines if line.outcome == "ok"}

    @property
    def project(self) -> str:
        """Return the project that it is about, if the client knows it."""
        return next((line.project for line in reversed(self.lines) if line.project), "")

    def is_among(self, deleted: Collection[str]) -> bool:
        """Tell whether its project, or its generation, is one of these."""
        return self.project in deleted or not self.generations.isdisjoint(deleted)

    @property
    def was_repeated_unanswered(self) -> bool:
        """Tell whether an attempt followed another one of unknown outcome."""
        return any(line.outcome == "info" for line in self.lines[:-1])


def keys_of(history: Iterable[Line]) -> dict[str, Key]:
    """Return all keys by name."""
    attempts: defaultdict[str, list[Line]] = defaultdict(list)
    for line in history:
        if line.op in PAYING:
            attempts[line.key].append(line)
    return {name: Key(name, lines[0].op, lines[0].client, tuple(lines)) for name, lines in attempts.items()}


def marker_of(prompt: str | None) -> str:
    """Return the marker in a prompt; empty if there is none, for example because the prompt was erased."""
    return (prompt or "").rpartition("[chaos:")[2].partition("]")[0] if "[chaos:" in (prompt or "") else ""
