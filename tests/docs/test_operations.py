"""The tables in docs/operations.md are those of the code."""

import re
from pathlib import Path
from typing import Any

import httpx
import typer.main

from tallyframe.api import metrics
from tallyframe.calls.figures import CallFigures
from tallyframe.cli import app
from tallyframe.errors import FAILURE_POLICY
from tallyframe.providers.offline.provider import _READERS
from tallyframe.reports.figures import Figures
from tests.support.variables import variables

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "operations.md").read_text()
NAME = re.compile(r"`(tallyframe_\w+|provider_\w+)`")


def section(title: str) -> str:
    return PAGE.split(f"\n## {title}\n")[1].split("\n## ")[0]


def rows(title: str) -> list[list[str]]:
    """The cells of a section's tables, without their heads."""
    lines = re.findall(r"^\| (`.+) \|$", section(title), re.MULTILINE)
    return [re.split(r"\s*\|\s*", line) for line in lines]


def test_the_failure_codes_are_the_published_policy() -> None:
    policy = [
        [f"`{code}`", fault, "yes" if retryable else "no", "always", message]
        for code, (fault, retryable, message) in FAILURE_POLICY.items()
    ]
    assert rows("Failure codes") == policy


def test_every_test_card_is_listed() -> None:
    assert {re.sub(r"[`\[\]]|:.*", "", card) for card, _ in rows("Test cards")} == set(_READERS)


async def test_the_metrics_are_those_that_are_served(anybody: httpx.AsyncClient) -> None:
    await anybody.get("/healthz")
    served = (await anybody.get("/metrics")).text
    types = dict(re.findall(r"^# TYPE (\w+) (\w+)$", served, re.MULTILINE))
    assert {row[0].strip("`"): row[1] for row in rows("Metrics")} == types


def test_the_labels_are_those_that_are_declared() -> None:
    reading = Figures(outcomes=[], provider_seconds=[], refunds=0, refunded_credits=0)
    counters: list[Any] = [metrics.REQUESTS, metrics.SECONDS, metrics.BYTES_IN_FLIGHT, metrics.CONNECTIONS_CLOSED]
    counters += [metrics.PICTURES, metrics.PICTURES_NOW, metrics.REPLICA_READS, metrics.REPLICA_LAG]
    declared = {counter._name: counter._labelnames for counter in counters}
    families: list[Any] = list(metrics.Snapshot(reading, CallFigures([], [])).collect())
    declared |= {family.name: family._labelnames for family in families}
    documented = {row[0].strip("`").removesuffix("_total"): row[2] for row in rows("Metrics")}
    assert documented == {name: ", ".join(labels) for name, labels in declared.items()}


def test_every_event_that_is_logged_is_explained_and_no_other() -> None:
    logged = set[str]()
    for path in (ROOT / "src").rglob("*.py"):
        logged |= set(re.findall(r"log\.(?:info|warning|error|exception)\(\s*\"(\w+)\"", path.read_text()))
    events = {name for row in rows("Logs") if len(row) == 3 for name in re.findall(r"\w+", row[0])}
    assert events == logged


def test_every_setting_and_command_that_it_names_exists() -> None:
    assert set(re.findall(r"TALLYFRAME_[A-Z0-9_]+", PAGE)) <= set(variables())
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]  # a group, not seen by its type
    named = {command.strip("`").split()[1] for command, *_ in rows("The processes")}
    assert named == {name for name in commands if name != "demo"}


def test_every_alert_is_about_a_metric_that_is_there_or_an_event() -> None:
    served = {row[0].strip("`") for row in rows("Metrics")} | {row[0].strip("`") for row in rows("Logs")}
    alerts = {
        name for row in re.findall(r"^\| ([^|]+) \|", section("Alerts"), re.MULTILINE) for name in NAME.findall(row)
    }
    assert len(alerts) > 8
    assert alerts <= served
