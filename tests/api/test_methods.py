"""HEAD is GET without its body, on every address; and JSON is read in UTF-8, with or without a mark, on every route."""

import codecs
import json
import re
from typing import Any
from uuid import uuid4

import httpx
import pytest
from starlette.types import Message

from tallyframe.main import create_app
from tallyframe.settings import Settings
from tests.support.cast import Member
from tests.support.remains import World, problem

OF_EACH_REQUEST = {"x-request-id", "date"}


async def test_head_is_answered_as_get_without_a_body(alice: Member, anybody: httpx.AsyncClient) -> None:
    project = await alice.order()
    document = (await anybody.get("/openapi.json")).json()
    paths = [path for path, how in document["paths"].items() if "get" in how]
    ids = {"project_id": project["id"], "generation_id": project["generation"]["id"]}
    filled = [re.sub(r"{(\w+)}", lambda name: ids.get(name[1], str(uuid4())), path) for path in paths]
    for path in [*filled, "/openapi.json", "/docs", "/static-offline-docs/swagger-ui.css", "/nothing"]:
        got, head = await alice.http.get(path), await alice.http.head(path)
        assert (head.status_code, head.content) == (got.status_code, b""), path
        lasting = {name: value for name, value in got.headers.items() if name not in OF_EACH_REQUEST}
        assert {name: head.headers[name] for name in lasting} == lasting, path
        assert head.headers["content-length"] == str(len(got.content)), path
    assert len(filled) > 20


async def test_head_knows_what_a_client_has_and_changes_nothing(alice: Member, world: World) -> None:
    project = await alice.order()
    before = await world.remains()
    path = f"/v1/projects/{project['id']}"
    etag = (await alice.http.head(path)).headers["etag"]
    unchanged = await alice.http.head(path, headers={"If-None-Match": etag})
    assert (unchanged.status_code, unchanged.headers["etag"]) == (304, etag)
    refused = await alice.http.head(f"{path}/cancel")
    assert (refused.status_code, refused.content) == (405, b"")
    assert refused.headers["allow"] == "POST, OPTIONS"
    assert await world.remains() == before


async def test_the_server_as_a_whole_has_options(settings: Settings) -> None:
    """Some balancers ask `OPTIONS *` whether it lives."""
    app, said = create_app(settings), list[Message]()
    scope = {"type": "http", "method": "OPTIONS", "path": "*", "raw_path": b"*", "headers": [], "query_string": b""}

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        said.append(message)

    await app({**scope, "http_version": "1.1", "scheme": "http"}, receive, send)
    assert said[0]["status"] == 204
    assert (b"allow", b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS") in said[0]["headers"]


async def test_an_answer_without_content_has_no_content_type(alice: Member) -> None:
    key = (await alice.http.post("/v1/api-keys", json={})).json()
    gone = await alice.http.delete(f"/v1/api-keys/{key['id']}")
    assert (gone.status_code, gone.content) == (204, b"")
    assert not {"content-type", "content-length"} & set(gone.headers)


ORDER = {"kind": "image", "prompt": "eine Täßchen 🍵"}
ROUTES: dict[str, dict[str, Any]] = {
    "/v1/projects": ORDER,
    "/v1/generations": {"operation": "image", "input": {"prompt": "eine Täßchen 🍵"}},
    "/v1/api-keys": {"name": "Täßchen"},
    "/v1/projects/{id}/publish": {},
}


@pytest.mark.parametrize("route", ROUTES)
async def test_json_is_utf_8_with_or_without_a_mark(alice: Member, route: str, world: World) -> None:
    path = route.format(id=(await alice.order())["id"]) if "{" in route else route
    body = json.dumps(ROUTES[route], ensure_ascii=False)
    before = await world.remains()
    for encoding in ("utf-16", "utf-16-le", "utf-16-be", "utf-32", "utf-32-le", "utf-32-be"):
        for content_type in ("application/json", f"application/json; charset={encoding}"):
            sent = await alice.http.post(path, content=body.encode(encoding), headers={"Content-Type": content_type})
            assert "UTF-8" in problem(sent, 415, "unsupported_media", f"{encoding} {content_type}")["detail"]
    if len(body) > 2:
        latin = body.replace("🍵", "").encode("latin-1")
        sent = await alice.http.post(path, content=latin, headers={"Content-Type": "application/json"})
        assert "JSON" in problem(sent, 422, "validation_failed")["detail"]
    assert await world.remains() == before
    for mark in (b"", codecs.BOM_UTF8):
        sent = await alice.http.post(path, content=mark + body.encode(), headers={"Content-Type": "application/json"})
        assert sent.status_code < 300 or sent.json()["code"] == "nothing_to_publish", sent.text


async def test_a_mark_may_come_in_pieces(alice: Member) -> None:
    async def pieces() -> Any:
        for byte in codecs.BOM_UTF8 + json.dumps(ORDER).encode():
            yield bytes([byte])

    sent = await alice.http.post("/v1/projects", content=pieces(), headers={"Content-Type": "application/json"})
    assert sent.status_code == 202, sent.text
