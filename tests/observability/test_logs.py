"""What libraries log comes out without secrets, and below a warning not at all: there they log addresses and orders."""

import json
import subprocess
import sys

import pytest

LOG = """
import logging
from tallyframe.logs import configure_logs
configure_logs("json", "debug", "worker")
key = "sk-proj-Ab3_dEf-0123456789abcdefghijklmnop"
logger = logging.getLogger({name!r})
logger.debug("Request options: %s", {{"json_data": {{"prompt": "a red cup"}}}})
logger.info("POST https://api.openai.com/v1/chat/completions")
logger.warning("Incorrect API key provided: %s", key, extra={{"headers": {{"Authorization": "Bearer " + key}}}})
try:
    raise ValueError("refused: Authorization: Bearer " + key)
except ValueError:
    logger.exception("failed")
"""


@pytest.mark.parametrize("name", ["openai", "openai._base_client", "httpx", "httpx2", "httpcore2.http11"])
def test_a_library_logs_warnings_only_and_no_key(name: str) -> None:
    ran = subprocess.run([sys.executable, "-c", LOG.format(name=name)], capture_output=True, check=True, timeout=90)
    lines = [json.loads(line) for line in ran.stderr.splitlines()]
    assert [line["level"] for line in lines] == ["warning", "error"]
    assert lines[0]["event"] == "Incorrect API key provided: [hidden]"
    assert lines[0]["headers"] == {"Authorization": "[hidden]"}
    assert lines[1]["exception"].endswith("ValueError: refused: Authorization: Bearer [hidden]")
    assert b"sk-proj" not in ran.stderr


OURS = """
import structlog
from tallyframe.logs import configure_logs
from tallyframe.redaction import hide
configure_logs("json", "info", "api")
hide(["the \\"password\\" of Zoë"])
log = structlog.get_logger()
log.debug("unseen")
log.info("request", path="/v1/tf_AbCdEfGhIjKlMnOpQrSt", status=200)
log.info("request", path="/v1/projects", said='it is the "password" of Zoë', what={1}, milliseconds=0.5)
"""


def test_our_lines_are_json_in_the_order_of_their_fields() -> None:
    ran = subprocess.run([sys.executable, "-c", OURS], capture_output=True, check=True, timeout=90)
    first, second = (json.loads(line) for line in ran.stderr.splitlines())
    assert list(first) == ["path", "status", "event", "process", "level", "timestamp"]
    assert first["path"] == "/v1/[hidden]"
    assert (first["event"], first["process"], first["level"]) == ("request", "api", "info")
    assert (second["said"], second["what"], second["milliseconds"]) == ("it is [hidden]", "{1}", 0.5)
