"""What no route takes is a problem, too: paths, methods, ids, cursors, limits, and text that can't be stored."""

import asyncio
import base64
import json
from uuid import uuid4

import httpx
import pytest
from redis.exceptions import RedisError
from starlette.types import Message

from tallyframe.accounts import keys
from tallyframe.main import create_app
from tallyframe.outbox.relay import JobQueue
from tallyframe.settings import Settings
from tests.conftest import serving
from tests.support.cast import Member
from tests.support.remains import World, problem


def cursor(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


async def test_unknown_paths(anybody: httpx.AsyncClient, alice: Member) -> None:
    for path in ("/", "/v1", "/v2/projects", "/v1/nothing", f"/v1/projects/{uuid4()}/nothing", "/admin", "/.env"):
        for client in (anybody, alice.http):
            problem(await client.get(path), 404, "not_found", path)
            problem(await client.post(path, json={}), 404, "not_found", path)


async def test_other_methods(alice: Member) -> None:
    cases = [
        ("PUT", "/v1/projects", "GET, HEAD, POST, OPTIONS"),
        ("PATCH", f"/v1/projects/{uuid4()}", "GET, HEAD, DELETE, OPTIONS"),
        ("GET", f"/v1/projects/{uuid4()}/cancel", "POST, OPTIONS"),
        ("DELETE", "/v1/credits", "GET, HEAD, OPTIONS"),
        ("POST", "/v1/explore", "GET, HEAD, OPTIONS"),
        ("DELETE", "/media/generations/a.png", "GET, HEAD, OPTIONS"),
        ("POST", "/docs", "GET, HEAD, OPTIONS"),
        ("POST", "/static-offline-docs/swagger-ui.css", "GET, HEAD, OPTIONS"),
        ("TRACE", "/v1/me", "GET, HEAD, OPTIONS"),
        ("BREW", "/v1/api-keys", "GET, HEAD, POST, OPTIONS"),
    ]
    for method, path, allowed in cases:
        answer = await alice.http.request(method, path)
        problem(answer, 405, "method_not_allowed", f"{method} {path}")
        assert answer.headers["allow"] == allowed, f"{method} {path}"
        options = await alice.http.options(path)
        assert (options.status_code, options.headers["allow"], options.content) == (204, allowed, b"")
        assert "content-type" not in options.headers
    problem(await alice.http.options("/v1/nothing"), 404, "not_found")


async def test_ids_that_are_none(alice: Member, world: World) -> None:
    before = await world.remains()
    for bad in ("1", "00000000", "not-an-id", "%00", "..%2f..", "a" * 300, "%F0%9F%8D%B5", f"{uuid4()}x", "-1"):
        for method, path in [
            ("GET", f"/v1/projects/{bad}"),
            ("POST", f"/v1/projects/{bad}/publish"),
            ("DELETE", f"/v1/projects/{bad}"),
            ("GET", f"/v1/generations/{bad}"),
            ("DELETE", f"/v1/api-keys/{bad}"),
        ]:
            answer = await alice.http.request(method, path)
            code = "not_found" if answer.status_code == 404 else "validation_failed"
            problem(answer, 404 if code == "not_found" else 422, code, f"{method} {path}")
    assert await world.remains() == before


async def test_cursors_that_are_none_of_ours(alice: Member) -> None:
    await alice.order()
    inner = [
        "",
        "1",
        "{}",
        "null",
        "[]",
        "[null]",
        "[1,2]",
        '["a"]',
        "[[1]]",
        "[1e999]",
        "[NaN]",
        "[" * 100,
        '[{"a":1}]',
    ]
    inner += [
        f"[{'9' * 40}]",
        f"[-{'9' * 40}]",
        '["\\u0000"]',
        '["\\ud800"]',
        f'["{uuid4()}x"]',
        "[99999999999999999999]",
    ]
    times = ("2026-01-01", "2026-01-01T00:00:00", "0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "yesterday")
    pairs = [json.dumps([time, str(uuid4())]) for time in times]
    for bad in ["!", "%00", "ä", "a", "a" * 301, *map(cursor, inner)]:
        for path in ("/v1/projects", "/v1/explore", "/v1/credits/entries"):
            problem(await alice.http.get(path, params={"cursor": bad}), 422, "validation_failed", f"{path} {bad}")
    for pair in pairs:  # a time that nobody was told may find nothing or be refused, but it breaks nothing
        answer = await alice.http.get("/v1/explore", params={"cursor": cursor(pair)})
        assert answer.status_code == 200 or problem(answer, 422, "validation_failed", pair), pair


async def test_limits_and_filters(alice: Member) -> None:
    for path in ("/v1/projects", "/v1/explore", "/v1/credits/entries"):
        for bad in ("0", "101", "-1", "1.5", "ten", "", "1e2", "9" * 30):
            said = problem(await alice.http.get(f"{path}?limit={bad}"), 422, "validation_failed", f"{path} {bad}")
            assert said["errors"][0]["pointer"] == "/limit"
        for good in ("1", "100"):
            assert (await alice.http.get(f"{path}?limit={good}")).status_code == 200
    for query in ("status=done", "status=", "kind=audio", "status=draft%00"):
        problem(await alice.http.get(f"/v1/projects?{query}"), 422, "validation_failed", query)
    for path in (
        "/v1/projects?kind=a%00b",
        "/v1/generations?operation=a%00b",
    ):  # Postgres takes no NUL
        problem(await alice.http.get(path), 422, "validation_failed", path)


@pytest.mark.parametrize(
    ("body", "pointer", "detail"),
    [
        ('{"operation": "image", "inp', "", "This is not JSON"),
        ("operation=image", "", "This is not JSON"),
        ("[]", "", "This must be a JSON object"),
        (
            '{"operation": "image", "input": {"images": ["a.png"]}}',
            "/input/images/0",
            'must be {"asset_id": …} or {"url": …}',
        ),
        (
            '{"operation": "image", "input": {"prompt": "\\u0000"}}',
            "/input/prompt",
            "contains characters that are not text",
        ),
    ],
)
async def test_what_is_wrong_with_a_body_is_said_once_and_in_terms_of_json(
    alice: Member, body: str, pointer: str, detail: str
) -> None:
    headers = {"Content-Type": "application/json"}
    said = problem(await alice.http.post("/v1/generations", content=body, headers=headers), 422, "validation_failed")
    assert said["errors"] == [{"pointer": pointer, "detail": detail}]


async def test_bodies_of_the_smaller_routes(alice: Member, world: World) -> None:
    """What can't be stored, or isn't asked for, is refused in the same shape everywhere."""
    project = await alice.order()
    before = await world.remains()
    keys = ['{"name": ""}', '{"name": "  "}', '{"name": 5}', '{"nam": "a"}', "[]", "null", '{"name": "a"']
    keys += [json.dumps({"name": "a" * 81}), '{"name": "a\\u0000b"}', '{"name": "\\ud800"}', '{"\\ud800": "a"}']
    keys += ["[" * 30_000, json.dumps({"name": "a", "user_id": str(uuid4())})]
    videos = ['{"duration_seconds": 0}', '{"duration_seconds": 9}', '{"duration_seconds": 1.5}', '{"prompt": ""}']
    videos += ['{"prompt": "\\u0000"}', '{"prompt": "\\ud800"}', '{"aspect_ratio": "2:1"}', '{"credits": 0}', "[]", "{"]
    videos += [json.dumps({"prompt": "a" * 4001}), '{"duration_seconds": NaN}', '{"duration_seconds": 1e999}']
    cases = [("/v1/api-keys", body) for body in keys]
    cases += [(f"/v1/projects/{project['id']}/video", body) for body in videos]
    for path, body in cases:
        answer = await alice.http.post(path, content=body, headers={"content-type": "application/json"})
        problem(answer, 422, "validation_failed", f"{path} {body[:80]}")
    assert await world.remains() == before


async def test_a_pointer_leads_to_the_mistake(alice: Member) -> None:
    order = {"kind": "image", "prompt": "a", "metadata": {"a/b~c": 1}, "aspect_ratio": "2:1"}
    refused = problem(await alice.http.post("/v1/projects", json=order), 422, "validation_failed")
    assert {error["pointer"] for error in refused["errors"]} == {"/metadata/a~1b~0c", "/aspect_ratio"}
    assert all(error["detail"] for error in refused["errors"])


async def test_an_insufficient_balance_leaves_a_project_as_it_was(alice: Member, world: World) -> None:
    project = await alice.order()
    await alice.order()
    await alice.order()
    await alice.http.post(f"/v1/projects/{project['id']}/cancel")
    await alice.order()
    await alice.order()
    canceled, before = await alice.project(project["id"]), await world.remains()
    assert await alice.available() == 0
    for action in ("video", "regenerate"):
        answer = await alice.http.post(f"/v1/projects/{project['id']}/{action}", json={})
        refused = problem(answer, 402, "insufficient_credits", action)
        assert (refused["required"], refused["available"]) == ({"video": 10, "regenerate": 5}[action], 0)
    assert await world.remains() == before
    assert await alice.project(project["id"]) == canceled


async def test_a_client_that_goes_away_in_its_request_is_no_bug_and_leaves_nothing(
    alice: Member, settings: Settings, world: World, capsys: pytest.CaptureFixture[str]
) -> None:
    app, before = create_app(settings), await world.remains()
    said: list[Message] = []
    pieces: list[Message] = [
        {"type": "http.request", "body": b'{"kind": "image",', "more_body": True},
        {"type": "http.disconnect"},
    ]

    async def receive() -> Message:
        return pieces.pop(0)

    async def send(message: Message) -> None:
        said.append(message)

    headers = [(b"authorization", f"Bearer {alice.key}".encode()), (b"content-type", b"application/json")]
    scope = {"type": "http", "method": "POST", "path": "/v1/projects", "raw_path": b"/v1/projects", "headers": headers}
    async with app.router.lifespan_context(app):
        await app({**scope, "query_string": b"", "http_version": "1.1", "scheme": "http", "app": app}, receive, send)
    assert (said, await world.remains()) == ([], before)
    assert "request_crashed" not in capsys.readouterr().out


@pytest.mark.parametrize(
    "error", [RedisError("gone"), ConnectionResetError(), RuntimeError("unable to perform operation; closed")]
)
async def test_not_ready_is_no_bug_however_the_line_to_redis_ends(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """Of a connection that has just been reset, uvloop says so in words of its own."""

    async def ping(_: JobQueue) -> None:
        raise error

    monkeypatch.setattr(JobQueue, "ping", ping)
    async with serving(settings) as client_for:
        answer = await client_for(None).get("/readyz")
    assert (answer.status_code, answer.json()) == (503, {"postgres": "ok", "redis": "unreachable"})


async def test_what_the_end_of_the_process_cuts_off_may_be_sent_again(
    anybody: httpx.AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server cancels what is still under way when the process has waited for long enough."""
    has_begun = asyncio.Event()

    async def hang(*_: object) -> None:
        has_begun.set()
        await asyncio.Event().wait()

    monkeypatch.setattr(keys, "owner", hang)
    task = asyncio.create_task(anybody.get("/v1/me", headers={"Authorization": f"Bearer {keys.new_api_key()}"}))
    await has_begun.wait()
    task.cancel()
    answer = await task
    assert "send it again" in problem(answer, 503, "unavailable")["detail"].lower()
    assert answer.headers["retry-after"] == "1"
