"""A page of a named origin may call the API, whatever headers its tracing adds, and may read what is wrong."""

import json
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tallyframe.api.dependencies import Services
from tallyframe.settings import Settings
from tests.conftest import ClientFor, serving
from tests.support.cast import Member
from tests.support.remains import problem

OURS = "https://app.example.com"


@pytest.fixture
async def pages(settings: Settings) -> AsyncIterator[ClientFor]:
    async with serving(settings.replaced(cors_origins=(OURS,), max_upload_bytes=1024)) as client_for:
        yield client_for


async def test_a_page_reads_that_its_address_is_too_long(pages: ClientFor) -> None:
    answer = await pages(None).get("/v1/pricing?a=" + "b" * 5000, headers={"Origin": OURS})
    problem(answer, 400, "uri_too_long")
    assert answer.headers["access-control-allow-origin"] == OURS


SENT = [
    "authorization,content-type,idempotency-key",
    "sentry-trace,baggage",
    "traceparent,tracestate",
    "b3,x-b3-traceid,x-datadog-trace-id,newrelic,elastic-apm-traceparent,x-request-id",
    "last-event-id,prefer,cancel-after",
    "range,if-range,if-match,if-none-match,if-modified-since,if-unmodified-since,cache-control",
]


@pytest.mark.parametrize("headers", SENT)
async def test_a_page_may_send_any_header(pages: ClientFor, headers: str) -> None:
    for method in ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE"):
        asking = {"Origin": OURS, "Access-Control-Request-Method": method, "Access-Control-Request-Headers": headers}
        allowed = (await pages(None).options("/v1/projects", headers=asking)).headers
        assert allowed["access-control-allow-origin"] == OURS
        assert method in allowed["access-control-allow-methods"].split(", ")
        assert set(headers.split(",")) <= set(allowed["access-control-allow-headers"].replace(" ", "").split(","))
        assert "access-control-allow-credentials" not in allowed


async def test_what_is_refused_before_a_request_is_a_problem(pages: ClientFor) -> None:
    for origin, method in (("https://evil.example", "GET"), ("null", "GET"), (OURS, "BREW")):
        asking = {"Origin": origin, "Access-Control-Request-Method": method}
        refused = await pages(None).options("/v1/projects", headers=asking)
        problem(refused, 400, "origin_not_allowed", origin)
        assert "access-control-allow-origin" not in refused.headers
        assert "Origin" in refused.headers["vary"]


async def test_a_page_may_read_every_error(
    pages: ClientFor, alice: Member, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = {"Authorization": f"Bearer {alice.key}"}
    big = b"[" + b" " * 6 * 2**20 + b"]"
    as_json = {"Content-Type": "application/json"}
    requests: list[tuple[int, str, str, dict[str, Any]]] = [
        (401, "GET", "/v1/me", {}),
        (404, "GET", "/v1/nothing", {}),
        (405, "PUT", "/v1/me", {}),
        (413, "POST", "/v1/projects", {"content": big, "headers": key | as_json}),
        (415, "POST", "/v1/projects", {"content": "a", "headers": key | {"Content-Type": "text/plain"}}),
        (422, "POST", "/v1/projects", {"content": "{}", "headers": key | as_json}),
    ]
    for status, method, path, more in requests:
        refused = await pages(None).request(
            method, path, **{**more, "headers": {"Origin": OURS, **more.get("headers", {})}}
        )
        problem(refused, status, refused.json()["code"], path)
        assert refused.headers["access-control-allow-origin"] == OURS, status
        assert "X-Request-Id" in refused.headers["access-control-expose-headers"]

    def broken(_: Services) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(Services, "terms", property(broken), raising=False)
    crashed = await pages(None).get("/v1/pricing", headers={"Origin": OURS})
    problem(crashed, 500, "internal")
    assert crashed.headers["access-control-allow-origin"] == OURS


async def test_caches_tell_pages_apart(pages: ClientFor) -> None:
    for headers in ({}, {"Origin": OURS}, {"Origin": "https://evil.example"}):
        assert "Origin" in (await pages(None).get("/v1/pricing", headers=headers)).headers["vary"]


async def test_any_page_where_all_are_named(settings: Settings) -> None:
    async with serving(settings.replaced(cors_origins=("*",))) as client_for:
        answer = await client_for(None).get("/v1/pricing", headers={"Origin": "https://any.example"})
        assert answer.headers["access-control-allow-origin"] == "*"


async def test_an_address_with_another_slash_is_another_address(anybody: httpx.AsyncClient, alice: Member) -> None:
    """A redirect would repeat the request's Host, and turn https into http behind a proxy."""
    for path in ("/v1/projects/", "/v1/me/", "/healthz/", "/docs/", "/v1/projects//", "//evil.example/", "/v1/"):
        answer = await alice.http.get(f"http://testserver{path}", headers={"Host": "evil.example"})
        problem(answer, 404, "not_found", path)
        assert "location" not in answer.headers
        assert "evil" not in json.dumps(dict(answer.headers)) + answer.text
