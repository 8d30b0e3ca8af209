"""What each client was told: one line per request, in memory and in a file."""

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Literal

#: ok: 2xx, read to its end. refused: 4xx. info: unknown; it may have been done, or may still be done.
Outcome = Literal["ok", "refused", "info"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One request. Times are seconds of the machine's clock; `generation_status` is what the answer said of it."""

    client: int
    # image, video, film (a video of a project), again (regenerate), cancel, delete, publish, poll, ready; words, sheet
    # and the three of OF_GENERATIONS; batch; the types of Clerk's events; events, replay (an administrator's)
    op: str
    key: str = ""  # Idempotency-Key of a paying request, the same for all attempts; the event's id; the batch's name
    marker: str = ""  # the marker in the prompt, if there is a prompt; of an event, whom it is about
    attempt: int = 1
    api: str = ""
    project: str = ""  # that it is about, or that the answer names
    sent: float = 0.0
    answered: float = 0.0
    outcome: Outcome = "info"
    status: int = 0  # of HTTP; 0: there was no answer
    code: str = ""  # the problem's code, or the name of our exception
    generation: str = ""
    generation_status: str = ""
    status_sequence: int = 0  # of the project; 0: the answer didn't say
    replayed: bool = False
    calm: bool = False  # sent after all faults were over


FREE = ("words", "sheet")  # orders without a project
OF_GENERATIONS = ("cancel_generation", "delete_generation", "poll_generation")  # of those without a project
PAYING = ("image", "video", "film", "again", *FREE)


@dataclass
class History:
    """All lines so far."""

    path: Path
    lines: list[Line] = field(default_factory=list)

    def add(self, line: Line) -> None:
        """Add a line, here and in the file."""
        self.lines.append(line)
        with self.path.open("a") as file:
            file.write(json.dumps(asdict(line)) + "\n")


def read_history(path: Path) -> list[Line]:
    """Return what was written to `path`."""
    return [Line(**json.loads(line)) for line in path.read_text().splitlines()]
