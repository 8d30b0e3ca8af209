"""What processes have logged that no fault explains: events that mean a bug, and exceptions that nobody expected."""

import json
from collections.abc import Mapping
from pathlib import Path

from chaos.evidence import Row

#: Events of docs/operations.md that mean a bug, or books that don't add up.
_ALARMS = (
    *("internal_error", "request_crashed", "invariant_violated", "audit_failed", "sweep_failed"),
    *("loop_failed", "taker_failed", "generation_crashed", "heartbeat_failed"),
)
#: How the exception of an event may end, where a fault explains it.
_EXPLAINED = {
    # The answer to an order can't be booked while the database is away; the step becomes a doubt.
    "late_answer_lost": "tallyframe.errors.Unavailable:",
    # The same of a ticket, after a minute.
    "ticket_lost": "tallyframe.errors.Unavailable:",
}
_TRACEBACK = "Traceback (most recent call last)"
_UNHEARD = "exception was never retrieved"  # what asyncio says of a task or a future that nobody has looked after


def alarms(logs: Mapping[str, Path]) -> list[Row]:
    """Return the lines that must never be there, with the process that has logged them."""
    return [
        {"process": name, "words": words}
        for name, path in logs.items()
        for line in path.read_text(errors="replace").splitlines()
        if (words := alarm(line))
    ]


def alarm(line: str) -> str:
    """Put a line of a log that must not be there into a sentence: what happened, on what, how its exception ends."""
    try:
        told = json.loads(line)
    except ValueError:  # what a process says that never came to log anything
        return line if _TRACEBACK in line or _UNHEARD in line else ""
    event, exception = (str(told.get(name, "")) if isinstance(told, dict) else "" for name in ("event", "exception"))
    last = exception.strip().splitlines()[-1:]
    if event in _EXPLAINED and "".join(last).startswith(_EXPLAINED[event]):
        return ""
    if not (event in _ALARMS or _TRACEBACK in line or _UNHEARD in event):
        return ""
    about = [str(told[name]) for name in ("invariant", "loop", "generation_id", "detail", "examples") if name in told]
    return f"{event.splitlines()[0]} at {told.get('timestamp')}: {' '.join([*about, *last])}"
