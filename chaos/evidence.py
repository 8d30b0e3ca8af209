"""All that the verdict is based on, gathered once everything is quiet: rows, bills, answers and the media."""

import asyncio
import hashlib
import json
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from chaos.history import Line
from chaos.stack import Stack
from chaos.vendor import BOOK, marked

Row = dict[str, Any]

_QUERIES = {
    "accounts": "SELECT id, user_id, balance FROM accounts",
    "entries": "SELECT id, account_id, kind, amount, generation_id, reverses_entry_id FROM ledger_entries",
    "generations": """
        SELECT id, project_id, user_id, account_id, operation, credits, status, attempt, error_code,
               input->>'prompt' AS prompt, created_at, finished_at, lease_until
        FROM generations ORDER BY id""",
    "steps": """
        SELECT generation_id, name, attempt, state, provider, error_code, is_final, operator_message
        FROM generation_steps ORDER BY generation_id, attempt""",
    "projects": "SELECT id, user_id, prompt, status, is_published, deleted_at IS NOT NULL AS is_deleted FROM projects",
    "outbox": "SELECT kind, ref, rings, due_at FROM outbox",
    "assets": "SELECT generation_id, key, sha256 FROM assets WHERE generation_id IS NOT NULL",
}
#: Events of docs/operations.md that mean a bug, or books that don't add up.
_ALARMS = (
    *("internal_error", "invariant_violated", "audit_failed"),
    *("loop_failed", "generation_crashed", "heartbeat_failed"),
)
_AT_ONCE = 8  # media that are fetched
_TRIES = 4
_TIMEOUT = 10.0  # seconds for one try


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
    """Rows are as in the database, ids and times as text. `media` is per succeeded generation that is not deleted."""

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
    media: list[Row] = field(default_factory=list)
    alarms: list[Row] = field(default_factory=list)  # lines of our processes' logs that tell of bugs
    deaths: list[str] = field(default_factory=list)  # of processes that ended although nobody had asked them to
    audit: tuple[int, str] = (0, "")  # exit code of `tallyframe ledger verify`, and what it printed
    prices: dict[str, int] = field(default_factory=dict)
    checks_idempotency: bool = True

    def write(self, path: Path) -> None:
        """Keep it, for `read_evidence`."""
        path.write_text(json.dumps(asdict(self), indent=1))


def read_evidence(path: Path) -> Evidence:
    """Return what was written to `path`."""
    found = json.loads(path.read_text())
    found["history"] = [Line(**line) for line in found["history"]]
    found["users"] = [User(**user) for user in found["users"]]
    found["audit"] = tuple(found["audit"])
    return Evidence(**found)


async def gather(stack: Stack, history: list[Line], users: list[User]) -> Evidence:
    """Read everything there is to read."""
    connection = await asyncpg.connect(stack.servers.database_url)
    try:
        rows = {name: [_plain(row) for row in await connection.fetch(query)] for name, query in _QUERIES.items()}
    finally:
        await connection.close()
    async with httpx.AsyncClient(base_url=next(iter(stack.apis.values())), timeout=_TIMEOUT, trust_env=False) as http:
        prices = {
            price["operation"]: price["credits"] for price in (await _get(http, "/v1/pricing", "")).json()["data"]
        }
        media = await _media(http, rows, users)
    return Evidence(
        history,
        users,
        **rows,
        orders=_read_lines(stack.folder / BOOK),
        media=media,
        alarms=_alarms(stack),
        deaths=[f"{child.name}: {death}" for child in stack.children.values() for death in child.deaths],
        audit=await stack.run("ledger", "verify"),
        prices=prices,
        checks_idempotency=stack.plan.checks_idempotency,
    )


def _plain(row: asyncpg.Record) -> Row:
    kept = (bool, int, str, type(None))
    return {name: value if isinstance(value, kept) else str(value) for name, value in row.items()}


def _read_lines(path: Path) -> list[Row]:
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def _alarms(stack: Stack) -> list[Row]:
    """Return the lines of the logs that must never be there."""
    names = (*stack.named("api"), *stack.named("worker"))
    lines = [(name, stack.children[name].log.read_text(errors="replace").splitlines()) for name in names]
    tell_tales = [f'"event": "{event}"' for event in _ALARMS]
    return [
        {"process": name, "words": _words(line)}
        for name, logged in lines
        for line in logged
        if any(tell_tale in line for tell_tale in tell_tales)
    ]


def _words(line: str) -> str:
    """Put a line of the log into a sentence: what happened, on what, and how its exception ends."""
    told = json.loads(line)
    about = [str(told[name]) for name in ("invariant", "loop", "generation_id", "detail", "examples") if name in told]
    last = str(told.get("exception", "")).strip().splitlines()[-1:]
    return f"{told['event']} at {told['timestamp']}: {' '.join([*about, *last])}"


async def _media(http: httpx.AsyncClient, rows: dict[str, list[Row]], users: list[User]) -> list[Row]:
    """Fetch what was made, as its owner: each succeeded generation of a project that is still there."""
    deleted = {row["id"] for row in rows["projects"] if row["is_deleted"]}
    keys = {user.user_id: user.key for user in users}
    turns = asyncio.Semaphore(_AT_ONCE)

    async def fetch(row: Row) -> Row:
        async with turns:
            return {"generation_id": row["id"], **await _fetch(http, row, keys.get(row["user_id"], ""))}

    made = [row for row in rows["generations"] if row["status"] == "succeeded" and row["project_id"] not in deleted]
    return list(await asyncio.gather(*(fetch(row) for row in made)))


async def _get(http: httpx.AsyncClient, url: str, key: str) -> httpx.Response:
    """Ask, and ask again where no answer comes: a process may still find out that its connections are dead."""
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    for _ in range(_TRIES - 1):
        with suppress(httpx.TransportError):
            return (await http.get(url, headers=headers)).raise_for_status()
    return (await http.get(url, headers=headers)).raise_for_status()


async def _fetch(http: httpx.AsyncClient, row: Row, key: str) -> Row:
    try:
        (output,) = (await _get(http, f"/v1/generations/{row['id']}", key)).json()["outputs"]
        data = (await _get(http, output["url"], key)).content
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return {"problem": f"{type(error).__name__}: {error}"}
    is_whole = hashlib.sha256(data).hexdigest() == output["sha256"]
    prompt = str(row["prompt"])
    marker = marked(prompt.rpartition("[chaos:")[2].removesuffix("]"))
    return {"problem": "", "is_whole": is_whole, "is_its_own": marker.encode() in data}
