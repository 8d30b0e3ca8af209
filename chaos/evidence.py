"""All that the verdict is based on: rows, bills, answers, media and logs."""

import json
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from chaos.history import Line

Row = dict[str, Any]


@dataclass(frozen=True)
class User:
    """A client's user. `key` is the API key; `granted` is the credits at the beginning."""

    client: int
    user_id: str
    account_id: str
    key: str
    granted: int


@dataclass(frozen=True)
class Evidence:
    """Rows are as in the database, ids and times as text. `media`: a row per succeeded generation, if not deleted."""

    history: list[Line]
    users: list[User]
    accounts: list[Row] = field(default_factory=list)
    entries: list[Row] = field(default_factory=list)
    generations: list[Row] = field(default_factory=list)
    steps: list[Row] = field(default_factory=list)
    projects: list[Row] = field(default_factory=list)
    outbox: list[Row] = field(default_factory=list)
    assets: list[Row] = field(default_factory=list)
    orders: list[Row] = field(default_factory=list)  # the vendor's book
    files: list[str] = field(default_factory=list)  # in the storage
    media: list[Row] = field(default_factory=list)
    events: list[Row] = field(default_factory=list)  # of webhooks
    told_users: list[Row] = field(default_factory=list)  # whom webhooks told of
    reads: list[Row] = field(default_factory=list)  # what the API said at the end (chaos/final_reads.py)
    apis: list[str] = field(default_factory=list)
    invariants: list[Row] = field(default_factory=list)  # of the auditor, checked again at the end
    alarms: list[Row] = field(default_factory=list)  # lines in our processes' logs that mean a bug
    deaths: list[str] = field(default_factory=list)  # of processes that ended without having been asked to
    endings: dict[str, list[str]] = field(default_factory=dict)  # per process, how it didn't end properly after SIGTERM
    audit: tuple[int, str] = (0, "")  # exit code of `tallyframe ledger verify`, and what it printed
    strangers: list[Row] = field(default_factory=list)  # a row per connection (chaos/strangers.py)
    pulse: list[Row] = field(default_factory=list)  # of the API processes (chaos/pulse.py)
    memory: list[Row] = field(default_factory=list)  # of the API processes: api, start, at, bytes, waited (s)
    lives: list[Row] = field(default_factory=list)  # of the API processes: api, at, and a signal or "started"
    prices: dict[str, int] = field(default_factory=dict)
    checks_idempotency: bool = True
    is_quick: bool = False
    max_age: float = 3600.0  # seconds until a generation expires
    most_seconds: float = 0.2  # p99 of /healthz must be below
    turn: float = 0.05  # seconds between two requests for /healthz

    @property
    def deleted(self) -> set[str]:
        """The ids of deleted projects, and of deleted generations that had none."""
        return {row["id"] for row in (*self.projects, *self.generations) if row["is_deleted"]}

    def write(self, path: Path) -> None:
        """Write it to `path`, for `read_evidence`."""
        path.write_text(json.dumps(asdict(self), indent=1))


def read_evidence(path: Path) -> Evidence:
    """Return what was written to `path`."""
    found = json.loads(path.read_text())
    found["history"] = [Line(**line) for line in found["history"]]
    found["users"] = [User(**user) for user in found["users"]]
    found["audit"] = tuple(found["audit"])
    return Evidence(**found)


def seconds(moment: str) -> float:
    """Return a time of the database as seconds of the machine's clock."""
    return datetime.fromisoformat(moment).timestamp()
