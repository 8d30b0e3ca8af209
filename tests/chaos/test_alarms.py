"""Which lines of a log does no fault explain?"""

import json
from typing import Any

import pytest

from chaos.alarms import alarm

TRACEBACK = "Traceback (most recent call last):\n  File ...\n"
UNAVAILABLE = f"{TRACEBACK}tallyframe.errors.Unavailable: The service can't do this right now."
AWAY = f"{TRACEBACK}tallyframe.lost.DatabaseAway: The database can't be reached right now. Try again shortly."


@pytest.mark.parametrize(
    ("line", "is_one"),
    [
        ({"event": "taker_failed"}, True),
        ({"event": "sweep_failed"}, True),
        ({"event": "provider_failed", "operator_message": "HTTP 500"}, False),
        ({"event": "something_new", "exception": f"{TRACEBACK}KeyError: 1"}, True),
        ({"event": "Task exception was never retrieved\nfuture: ..."}, True),
        ({"event": "late_answer_lost", "exception": AWAY}, False),
        ({"event": "late_answer_lost", "exception": UNAVAILABLE}, False),
        ({"event": "late_answer_lost", "exception": f"{TRACEBACK}KeyError: 1"}, True),
        ({"event": "ticket_lost", "exception": AWAY}, False),
        ({"event": "ticket_lost", "exception": UNAVAILABLE}, False),
        ({"event": "request_crashed", "exception": f"{TRACEBACK}starlette.requests.ClientDisconnect"}, True),
        ({"event": "request_crashed", "exception": f"{TRACEBACK}KeyError: 1"}, True),
        ({"event": "internal_error", "detail": "x"}, True),
    ],
)
def test_what_no_fault_explains_is_an_alarm(line: dict[str, Any], is_one: bool) -> None:  # noqa: FBT001  # a table
    assert bool(alarm(json.dumps({"timestamp": "now", **line}))) is is_one


def test_what_was_never_meant_for_the_log_may_be_an_alarm() -> None:
    assert alarm("Traceback (most recent call last):")
    assert not alarm("INFO: all is well")
