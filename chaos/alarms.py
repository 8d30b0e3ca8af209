"""Finds log lines that no fault explains: events that mean a bug, and unexpected exceptions."""

import json
from collections.abc import Mapping
from pathlib import Path

from chaos.evidence import Row
from tallyframe.errors import Unavailable
from tallyframe.lost import DatabaseAway

#: Events of docs/operations.md that mean a bug or a wrong balance.
_ALARMS = (
    *("internal_error", "request_crashed", "invariant_violated", "audit_failed", "sweep_failed"),
    *("loop_failed", "taker_failed", "generation_crashed", "heartbeat_failed"),
)
#: What a traceback calls a database that is away.
_AWAY = tuple(f"{kind.__module__}.{kind.__qualname__}:" for kind in (Unavailable, DatabaseAway))
#: How the last line of an event's traceback may start, because a fault explains it.
_EXPLAINED: dict[str, str | tuple[str, ...]] = {
    # The answer to an order can't be written while the database is away; the step becomes in doubt.
    "late_answer_lost": _AWAY,
    # The same for a ticket, after a minute.
    "ticket_lost": _AWAY,
    # A request that takes longer than a stopping API process waits: its database was frozen or slow.
    "Exception in ASGI application\n": "asyncio.exceptions.CancelledError: Task cancelled, timeout graceful shutdown",
}
_TRACEBACK = "Traceback (most recent call last)"
_UNHEARD = "exception was never retrieved"  # asyncio's words for a task or a future whose exception was ignored


def alarms(logs: Mapping[str, Path]) -> list[Row]:
    """Return the lines that must never be there, with the process that logged them."""
    return [
        {"process": name, "words": words}
        for name, path in logs.items()
        for line in path.read_text(errors="replace").splitlines()
        if (words := alarm(line))
    ]


def alarm(line: str) -> str:
    """Return a log line as a sentence (event, subject, exception) if it must not be there, otherwise nothing."""
    try:
        told = json.loads(line)
    except ValueError:  # printed by a process before it logs
        return line if _TRACEBACK in line or _UNHEARD in line else ""
    event, exception = (str(told.get(name, "")) if isinstance(told, dict) else "" for name in ("event", "exception"))
    last = exception.strip().splitlines()[-1:]
    if event in _EXPLAINED and "".join(last).startswith(_EXPLAINED[event]):
        return ""
    if not (event in _ALARMS or _TRACEBACK in line or _UNHEARD in event):
        return ""
    about = [str(told[name]) for name in ("invariant", "loop", "generation_id", "detail", "examples") if name in told]
    return f"{event.splitlines()[0]} at {told.get('timestamp')}: {' '.join([*about, *last])}"
