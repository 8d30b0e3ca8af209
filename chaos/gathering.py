"""Collects the evidence once everything is quiet. The rows are on the disk before the API is asked."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import httpx

from chaos import final_reads
from chaos.alarms import alarms
from chaos.auditing import invariants
from chaos.evidence import Evidence, Row, User
from chaos.history import Line
from chaos.outsiders import MEMORY, PULSE, STRANGERS
from chaos.stack import Stack
from chaos.vendor import BOOK

FILE = "evidence.json"

#: The calls that are to be answered by now. One to erase once more comes ten minutes later, for what a worker that was
#: killed while it stored a file may have left.
NOT_LATER = "NOT (kind LIKE 'erase%' AND due_at > now() + interval '2 minutes')"

#: How many generations and calls have not ended.
UNFINISHED = f"""
    SELECT (SELECT count(*) FROM generations WHERE finished_at IS NULL)
         + (SELECT count(*) FROM outbox WHERE {NOT_LATER})"""  # noqa: S608  # of our own parts

_QUERIES = {
    "accounts": "SELECT id, user_id, balance FROM accounts",
    "entries": """
        SELECT id, account_id, kind, amount, generation_id, reverses_entry_id, created_at FROM ledger_entries""",
    "generations": """
        SELECT id, project_id, user_id, account_id, operation, credits, status, attempt, error_code,
               input->>'prompt' AS prompt, output::text AS data, metadata->>'batch' AS batch,
               deleted_at IS NOT NULL AS is_deleted, created_at, finished_at, lease_until
        FROM generations ORDER BY id""",
    "steps": """
        SELECT generation_id, name, attempt, state, provider, ticket, error_code, is_final, operator_message, ended_at
        FROM generation_steps ORDER BY generation_id, name, attempt""",
    "projects": """
        SELECT id, user_id, prompt, status, status_sequence, generation_id, is_published,
               deleted_at IS NOT NULL AS is_deleted
        FROM projects""",
    "outbox": f"SELECT kind, ref, rings, due_at FROM outbox WHERE {NOT_LATER}",  # noqa: S608  # of our own parts
    "assets": "SELECT project_id, generation_id, key, sha256 FROM assets",
    "events": "SELECT event_id, type, subject, status, body IS NOT NULL AS has_body, error FROM webhook_events",
    "told_users": """
        SELECT u.subject, u.email, u.deleted_at IS NOT NULL AS is_deleted,
               (SELECT count(*) FROM accounts a JOIN ledger_entries e ON e.account_id = a.id
                WHERE a.user_id = u.id AND e.kind = 'grant') AS grants
        FROM users u WHERE u.issuer LIKE '%chaos.invalid'""",
}
_TIMEOUT = 10.0  # seconds for one try


async def gather(stack: Stack, history: list[Line], users: list[User], *, is_quick: bool) -> Evidence:
    """Read all evidence, and write it to the run's folder."""
    rows: dict[str, Any] = await _rows(stack)
    book = stack.folder / BOOK
    evidence = Evidence(
        history,
        users,
        **rows,
        strangers=read_lines(stack.folder / STRANGERS),
        pulse=read_lines(stack.folder / PULSE),
        memory=read_lines(stack.folder / MEMORY),
        lives=[{"api": api, "at": at, "what": what} for api in stack.apis for at, what in stack.children[api].lives],
        orders=read_lines(book) if book.exists() else [],
        apis=list(stack.apis),
        checks_idempotency=stack.plan.checks_idempotency,
        is_quick=is_quick,
        max_age=stack.plan.max_age,
        most_seconds=stack.plan.most_seconds,
        turn=stack.plan.pulse,
    )
    evidence = with_endings(evidence, stack)
    evidence.write(stack.folder / FILE)
    evidence = await _with_final_reads(evidence, stack)
    evidence.write(stack.folder / FILE)
    return evidence


def with_endings(evidence: Evidence, stack: Stack) -> Evidence:
    """Return the evidence with the processes' alarms, deaths and endings so far."""
    children = stack.children.values()
    return replace(
        evidence,
        alarms=alarms({name: stack.children[name].log for name in (*stack.named("api"), *stack.named("worker"))}),
        deaths=[f"{child.name}: {death}" for child in children for death in child.deaths],
        endings={child.name: list(getattr(child, "problems", [])) for child in children},
    )


async def _with_final_reads(evidence: Evidence, stack: Stack) -> Evidence:
    """Return the evidence with what the API, the storage, the auditor and `ledger verify` say."""
    async with httpx.AsyncClient(base_url=next(iter(stack.apis.values())), timeout=_TIMEOUT, trust_env=False) as http:
        seen = replace(
            evidence,
            prices=await final_reads.prices(http),
            media=await final_reads.media(http, evidence),
            reads=await final_reads.reads(http, evidence),
        )
    files = sorted(str(path.relative_to(stack.media)) for path in stack.media.rglob("*") if path.is_file())
    return replace(seen, files=files, invariants=await invariants(stack), audit=await stack.run("ledger", "verify"))


def read_lines(path: Path) -> list[Row]:
    """Return what the lines of a file say, each in JSON."""
    return [json.loads(line) for line in path.read_text().splitlines()]


async def _rows(stack: Stack) -> dict[str, list[Row]]:
    connection = await asyncpg.connect(stack.servers.database_url)
    try:
        async with connection.transaction(isolation="repeatable_read", readonly=True):
            return {name: [_as_json(row) for row in await connection.fetch(query)] for name, query in _QUERIES.items()}
    finally:
        await connection.close()


def _as_json(row: asyncpg.Record) -> Row:
    kept = (bool, int, str, type(None))
    return {name: value if isinstance(value, kept) else str(value) for name, value in row.items()}
