"""/metrics tells operators what the issue of the day is."""

import asyncio
from typing import Any

import httpx
import pytest
from prometheus_client import CollectorRegistry, generate_latest

from tallyframe.db import Reader
from tallyframe.reports import figures
from tests.support.cast import Member
from tests.support.working import Bench


def value(text: str, sample: str) -> float:
    lines = [line for line in text.splitlines() if line.startswith(f"{sample} ")]
    assert lines, f"{sample} is not in:\n{text}"
    return float(lines[0].rsplit(" ", 1)[1])


async def test_metrics(alice: Member, bench: Bench, anybody: httpx.AsyncClient) -> None:
    await alice.order("a cup")
    await alice.order("[fail:content_policy] a cup")
    before = (await anybody.get("/metrics")).text
    assert value(before, 'tallyframe_queue_depth{status="pending"}') == 2
    assert value(before, "tallyframe_oldest_pending_seconds") > 0

    await bench.drain()
    answer = await anybody.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain")
    after = answer.text
    for outcome in ("succeeded", "failed"):
        labels = f'operation="image",outcome="{outcome}",provider="offline"'
        assert value(after, f"tallyframe_generations_total{{{labels}}}") == 1
    assert value(after, 'tallyframe_queue_depth{status="pending"}') == 0
    assert value(after, "tallyframe_oldest_pending_seconds") == 0
    assert value(after, 'tallyframe_provider_seconds_count{provider="offline"}') == 2
    assert value(after, 'tallyframe_provider_seconds_sum{provider="offline"}') > 0
    assert value(after, "tallyframe_refunds_total") == 1
    assert value(after, "tallyframe_refunded_credits_total") == 5
    accepted = 'method="POST",route="/v1/projects",status="202"'
    assert value(after, f"tallyframe_requests_total{{{accepted}}}") >= 2


async def test_work_besides_generations_that_nobody_takes_is_counted(anybody: httpx.AsyncClient, owner: Any) -> None:
    insert = "INSERT INTO outbox (kind, ref, due_at) VALUES ($1, gen_random_uuid(), now() + $2::text::interval)"
    for kind, due in (("erase_project", "-1 minute"), ("apply_webhook", "-1 minute"), ("withdraw", "1 minute")):
        await owner.execute(insert, kind, due)
    assert value((await anybody.get("/metrics")).text, "tallyframe_outbox_overdue") == 2


async def test_webhooks_are_counted_by_what_became_of_them(anybody: httpx.AsyncClient, owner: Any) -> None:
    insert = "INSERT INTO webhook_events (source, event_id, type, status, body) VALUES ('clerk', $1, 'x', $2, '')"
    for number, status in enumerate(("applied", "applied", "ignored", "received")):
        await owner.execute(insert, f"msg_{number}", status)
    told = (await anybody.get("/metrics")).text
    for status, count in {"applied": 2, "ignored": 1, "received": 1}.items():
        assert value(told, f'tallyframe_webhook_events{{source="clerk",status="{status}"}}') == count


async def test_many_scrapes_are_one_reading_and_nobody_waits_for_it(
    anybody: httpx.AsyncClient, alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    readings, go, real = list[object](), asyncio.Event(), figures.read

    async def slow(reader: Reader) -> Any:
        readings.append(reader)
        await go.wait()
        return await real(reader)

    written, write = list[object](), generate_latest

    def counted(registry: CollectorRegistry) -> bytes:
        written.append(registry)
        return write(registry)

    monkeypatch.setattr("tallyframe.api.metrics.generate_latest", counted)
    monkeypatch.setattr(figures, "read", slow)
    scrapes = [asyncio.create_task(anybody.get("/metrics")) for _ in range(30)]
    while not readings:
        await asyncio.sleep(0.01)
    secret = (await alice.http.post("/v1/api-keys")).json()["secret"]
    signed_in = await anybody.get("/v1/me", headers={"Authorization": f"Bearer {secret}"})
    assert (signed_in.status_code, (await anybody.get("/v1/explore")).status_code) == (200, 200)
    go.set()
    assert {answer.status_code for answer in await asyncio.gather(*scrapes)} == {200}
    assert (len(readings), len(written)) == (1, 2)  # one text, of two registries


async def test_ready_and_alive(anybody: httpx.AsyncClient) -> None:
    assert (await anybody.get("/healthz")).json() == {"status": "ok"}
    ready = await anybody.get("/readyz")
    assert (ready.status_code, ready.json()) == (200, {"postgres": "ok", "redis": "ok"})
