"""Whoever leaves while a picture is fetched or decoded ends that work, and nothing stays behind."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

import httpx
import psutil
import pytest

from tests.support.cast import Member
from tests.support.decoding import odd
from tests.support.drawn import picture
from tests.support.processes import Processes
from tests.support.remains import World


async def leaves(member: Member, request: httpx.Request, when: Callable[[], Awaitable[object]]) -> list[Any]:
    """Send the request, and close the connection after `when`; return what was answered to nobody."""
    parts = [
        {"type": "http.request", "body": request.read(), "more_body": False},
        {"type": "http.request", "body": b"", "more_body": False},
    ]
    sent: list[Any] = []

    async def receive() -> dict[str, Any]:
        if parts:
            return parts.pop(0)
        await when()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        sent.append(message)

    scope = {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "method": request.method,
        "path": request.url.path,
        "raw_path": request.url.raw_path,
        "query_string": b"",
        "headers": [(name.lower(), value) for name, value in request.headers.raw],
        "scheme": "http",
        "client": ("127.0.0.1", 1),
        "server": ("testserver", 80),
        "root_path": "",
    }
    app = member.http._transport.app  # type: ignore[attr-defined]  # ASGITransport's
    async with asyncio.timeout(20):
        await app(scope, receive, send)
    return sent


async def test_who_leaves_during_the_second_picture_takes_the_first_along(
    alice: Member, world: World, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd(monkeypatch)
    before, begun = await world.remains(), tmp_path / "begun"

    async def at_work() -> None:
        while not begun.exists():
            await asyncio.sleep(0.01)
        assert len(world.files()) == 1

    files = [("images", b"fine"), ("images", b"spin %s" % bytes(begun))]
    order = alice.http.build_request("POST", "/v1/projects", data={"kind": "image", "prompt": "a"}, files=files)
    order.headers["Idempotency-Key"] = "a key"
    assert await leaves(alice, order, at_work) == []
    assert await world.remains() == before
    async with asyncio.timeout(20):
        while psutil.pid_exists(int(begun.read_text())):
            await asyncio.sleep(0.01)
    assert await alice.available() == 20
    again = await alice.http.post("/v1/assets", files={"file": ("a.png", b"fine")})
    assert again.status_code == 201, again.text


async def test_who_leaves_while_a_picture_is_fetched_ends_that(alice: Member, world: World) -> None:
    fetching, before, ended = asyncio.Event(), await world.remains(), list[str]()

    async def fetch(user_id: UUID, url: str, pointer: str) -> bytes:
        fetching.set()
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            ended.append(url)
            raise
        return b""

    app = alice.http._transport.app  # type: ignore[attr-defined]  # as above
    app.state.services = replace(app.state.services, fetch=fetch)
    asked = {"operation": "image", "input": {"prompt": "a", "images": [{"url": "http://a.example/a.png"}]}}
    assert await leaves(alice, alice.http.build_request("POST", "/v1/generations", json=asked), fetching.wait) == []
    assert ended == ["http://a.example/a.png"]
    assert await world.remains() == before


async def test_who_hangs_up_ends_the_decoder(alice: Member, world: World, processes: Processes) -> None:
    """With a real server, and a decoder that is stopped while it has a picture."""
    api, url = await processes.api()
    parts = {"files": {"file": ("a.png", picture(), "image/png")}, "headers": dict(alice.http.headers)}
    async with httpx.AsyncClient(base_url=url, timeout=60) as client:
        assert (await client.post("/v1/assets", **parts)).status_code == 201  # type: ignore[arg-type]  # as httpx has it
        [decoder] = psutil.Process(api.popen.pid).children()
        decoder.send_signal(signal.SIGSTOP)
        before = await world.remains()
        request = client.build_request("POST", "/v1/assets", **parts)  # type: ignore[arg-type]  # as above
        _, writer = await asyncio.open_connection("127.0.0.1", urlsplit(url).port)
        head = "".join(f"{name}: {value}\r\n" for name, value in request.headers.items())
        writer.write(f"POST /v1/assets HTTP/1.1\r\n{head}\r\n".encode() + request.read())
        await writer.drain()
        while 'tallyframe_pictures{step="decode"} 1.0' not in (await client.get("/metrics")).text:
            await asyncio.sleep(0.02)
        assert (await client.get("/healthz")).status_code == 200
        writer.close()
        await api.until_logged("client_gone")
        await api.until_logged('"status": 499')
        assert await world.remains() == before
        assert (await client.post("/v1/assets", **parts)).status_code == 201  # type: ignore[arg-type]  # as above
        metrics = (await client.get("/metrics")).text
    assert 'tallyframe_picture_seconds_count{outcome="left",step="decode"} 1.0' in metrics
    assert 'tallyframe_picture_seconds_count{outcome="done",step="decode"} 2.0' in metrics
    await asyncio.to_thread(decoder.wait, 20)
