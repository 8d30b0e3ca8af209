"""The examples of docs/http.md are run with curl against a real API, and answered as the page shows."""

import asyncio
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from tallyframe.db import Database
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.processes import Processes
from tests.support.working import Bench

PAGE = (Path(__file__).parents[2] / "docs" / "http.md").read_text()
STEPS = re.findall(
    r"^<!-- walk -->\n```sh\n(.*?)^```\n\n<!-- shows -->\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
FROM_A_BROWSER = re.findall(
    r"^<!-- from a browser -->\n```sh\n(.*?)^```\n\n<!-- answers -->\n```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL
)
ANY = "…"


@dataclass(frozen=True)
class Shown:
    """An answer as curl prints it, or as the page shows it."""

    status: str
    headers: dict[str, str]
    body: Any

    @classmethod
    def read(cls, text: str) -> "Shown":
        head, _, body = text.replace("\r\n", "\n").strip().partition("\n\n")
        status, *lines = head.splitlines()
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        return cls(status, headers, json.loads(body) if body and body != "OK" else body or None)


def matches(shown: Any, told: Any) -> bool:
    """Whether it is what is shown; … stands for any value, for the rest of a value, and for all other fields."""
    if shown == ANY:
        return told is not None
    if isinstance(shown, dict) and isinstance(told, dict):
        named = shown.keys() - {ANY}
        whole = ANY in shown or told.keys() == named
        return whole and all(name in told and matches(shown[name], told[name]) for name in named)
    if isinstance(shown, list) and isinstance(told, list):
        return len(shown) == len(told) and all(map(matches, shown, told))
    if isinstance(shown, str) and isinstance(told, str):
        return re.fullmatch(re.escape(shown).replace(ANY, ".+"), told) is not None
    return bool(shown == told and type(shown) is type(told))


async def curl(script: str, environment: dict[str, str]) -> Shown:
    shell = ("bash", "-euo", "pipefail", "-c", script.replace("curl ", "curl --silent --show-error "))
    running = await asyncio.create_subprocess_exec(
        *shell, env={**os.environ, **environment}, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    printed, _ = await asyncio.wait_for(running.communicate(), 60)
    assert running.returncode == 0, printed.decode()
    return Shown.read(printed.decode())


async def test_every_example_is_answered_as_it_shows(
    processes: Processes, bench: Bench, alice: Member, db: Database, owner: Any
) -> None:
    assert len(STEPS) == PAGE.count("<!-- walk -->") > 10
    _, url = await processes.api()
    known = {"TALLYFRAME_URL": url, "TALLYFRAME_KEY": alice.key, "no_proxy": "127.0.0.1"}
    for script, text in STEPS:
        if '/v1/generations/$ID"' in script and "--request" not in script:  # it is asked for once it has ended
            await bench.drain()
        shown, told = Shown.read(text), await curl(script, known)
        assert told.status == shown.status, (script, told)
        assert matches({**shown.headers, ANY: ANY}, told.headers), (script, told.headers)
        assert matches(shown.body, told.body), (script, told.body)
        known |= {"ID": told.body["id"]} if "202" in told.status else {}
        known |= {"ETAG": told.headers["etag"]} if "etag" in told.headers else {}
    assert await alice.available() == 15
    assert await assert_books_balance(db, owner) == {"succeeded": 1, "failed": 1, "canceled": 1}


@pytest.mark.parametrize(
    ("shown", "told"),
    [
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": 1, ANY: ANY}, {"a": True}),
        ({"a": 1, ANY: ANY}, {"b": 2}),
        ([1], [1, 2]),
        ("a…", "b"),
        (ANY, None),
    ],
)
def test_what_differs_is_seen(shown: Any, told: Any) -> None:
    assert not matches(shown, told)


async def test_a_browser_is_answered_as_it_shows(processes: Processes) -> None:
    assert len(FROM_A_BROWSER) == PAGE.count("<!-- from a browser -->") == 2
    assert "TALLYFRAME_CORS_ORIGINS=http://localhost:3000" in PAGE
    _, url = await processes.api(TALLYFRAME_CORS_ORIGINS="http://localhost:3000")
    for script, text in FROM_A_BROWSER:
        shown, told = Shown.read(text), await curl(script, {"TALLYFRAME_URL": url, "no_proxy": "127.0.0.1"})
        assert told.status == shown.status, (script, told)
        assert matches({**shown.headers, ANY: ANY}, told.headers), (script, told.headers)
        assert matches(shown.body, told.body), (script, told.body)
