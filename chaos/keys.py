"""What became of each Idempotency-Key, as far as its client was told."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass

from chaos.history import PAYING, Line, Outcome

NEW = ("image", "video")  # these make a project; the others order for one that is there


@dataclass(frozen=True, slots=True)
class Key:
    """All attempts with one key. `project` is empty for a new project that nobody was told of."""

    name: str
    op: str
    client: int
    lines: tuple[Line, ...]

    @property
    def outcome(self) -> Outcome:
        """Return ok if any attempt was acknowledged, refused if each was refused, else info: it may have been done."""
        outcomes = {line.outcome for line in self.lines}
        if "ok" in outcomes:
            return "ok"
        return "refused" if outcomes == {"refused"} else "info"

    @property
    def generations(self) -> set[str]:
        """Return the ids that the client was told."""
        return {line.generation for line in self.lines if line.outcome == "ok"}

    @property
    def project(self) -> str:
        """Return the project that it is about, if the client knows."""
        return next((line.project for line in reversed(self.lines) if line.project), "")

    @property
    def was_repeated_unanswered(self) -> bool:
        """Tell whether an attempt was made after one that nobody knows the end of."""
        return any(line.outcome == "info" for line in self.lines[:-1])


def keys_of(history: Iterable[Line]) -> dict[str, Key]:
    """Return all keys by name."""
    attempts: defaultdict[str, list[Line]] = defaultdict(list)
    for line in history:
        if line.op in PAYING:
            attempts[line.key].append(line)
    return {name: Key(name, lines[0].op, lines[0].client, tuple(lines)) for name, lines in attempts.items()}


def marker_of(prompt: str | None) -> str:
    """Return what stands in a prompt to tell its order; empty when there is nothing, as once it was erased."""
    return (prompt or "").rpartition("[chaos:")[2].partition("]")[0] if "[chaos:" in (prompt or "") else ""
