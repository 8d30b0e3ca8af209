"""The way to Google: where requests go, what they carry, how much comes back, and what the environment can't change."""

import asyncio
import logging
import time
import tracemalloc
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from typing import Any

import httpx2
import pytest

from tallyframe.providers.google.client import Google, GoogleAccess
from tallyframe.providers.transport import ResponseTooLarge
from tests.support.google_wire import ENVIRONMENT
from tests.support.streaming import flooding
from tests.support.vendor import Reply, Vendor, answer, hang, vendor

KEY = "canary-key-of-google"
ODD_ADDRESSES = ("host", "ftp://host", "https://", "/path", "https://name:word@host", "https://host?key=x")

Ask = Callable[[Google], Awaitable[Any]]


def generate(google: Google) -> Awaitable[Any]:
    return google.client.aio.models.generate_content(model="gemini-x", contents="canary prompt")


def interact(google: Google) -> Awaitable[Any]:
    return google.client.aio.interactions.create(model="gemini-x", input="canary prompt", background=True)


def download(google: Google) -> Awaitable[Any]:
    return google.client.aio.files.download(file="https://generativelanguage.googleapis.com/v1/files/abc:download")


ASKS: tuple[Ask, ...] = (generate, interact, download)
PATHS = ("/v1/models/gemini-x:generateContent", "/v1/interactions", "/v1/files/abc:download?alt=media")


@pytest.fixture
def replies() -> list[Reply]:
    return []


@pytest.fixture
async def server(replies: list[Reply]) -> AsyncIterator[Vendor]:
    async with vendor(lambda _: replies.pop(0) if replies else answer({"id": "int1", "status": "queued"})) as running:
        yield running


def google_at(server: Vendor, **access: Any) -> Google:
    return Google(GoogleAccess(KEY, server.url, **{"timeout": 5.0, **access}))


@pytest.mark.parametrize(("ask", "path"), [*zip(ASKS, PATHS, strict=True)])
async def test_the_environment_changes_nothing(
    server: Vendor, ask: Ask, path: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    for name, value in ENVIRONMENT.items():
        monkeypatch.setenv(name, value)
        monkeypatch.setenv(name.lower() if name.endswith("_PROXY") else name, value)
    caplog.set_level(logging.DEBUG)
    google = google_at(server)
    await ask(google)
    await google.aclose()
    (sent,) = server.requests
    assert sent.target == path
    assert sent.headers["x-goog-api-key"] == KEY
    assert sent.headers["accept-encoding"] == "identity"
    assert "wrong" not in repr(sent)
    assert {"authorization", "x-goog-user-project"}.isdisjoint(sent.headers)
    assert "canary" not in caplog.text
    assert type(google.client._api_client).__name__ == "BaseApiClient"  # no replays


@pytest.mark.parametrize("ask", ASKS)
async def test_redirects_lead_nowhere(server: Vendor, replies: list[Reply], ask: Ask) -> None:
    async with vendor(lambda _: answer({})) as thief:
        for target in (f"{thief.url}/steal", f"{server.url}/again", "//[", "/again"):
            google = google_at(server)
            replies[:] = [Reply(302, b"302 Found", {"Location": target})]
            with pytest.raises(Exception, match="302"):
                await ask(google)
            replies[:] = [Reply(307, headers={"Location": target})]
            assert (await google._http.get(f"{server.url}/v1/x", follow_redirects=True)).status_code == 307
            await google.aclose()
        assert thief.requests == []
    assert len(server.requests) == 8


async def test_the_key_is_for_one_address_only(server: Vendor) -> None:
    google = google_at(server)
    async with vendor(lambda _: answer({})) as thief:
        for base in (thief.url, server.url.replace("http:", "https:")):
            with pytest.raises(httpx2.UnsupportedProtocol, match=r"The key is for 127\.0\.0\.1"):
                await google.client.aio.models.get(model="x", config={"http_options": {"base_url": base}})
        assert thief.requests == []
    await google.aclose()
    assert server.requests == []


@pytest.mark.parametrize("ask", ASKS)
async def test_a_large_answer_is_not_read(server: Vendor, replies: list[Reply], ask: Ask) -> None:
    google = google_at(server)  # with the limit as it is
    await ask(google)
    replies[:] = [Reply(pad_to=200 * 2**20)]
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(ResponseTooLarge, match="more than 104,857,600 bytes"):
        await ask(google)
    assert time.monotonic() - started < 15
    assert tracemalloc.get_traced_memory()[1] < 20 * 2**20
    tracemalloc.stop()
    assert google._http._transport._inner._pool.connections == []  # type: ignore[attr-defined]
    await google.aclose()


@pytest.mark.parametrize("ask", ASKS)
async def test_an_endless_answer_is_cut_at_the_limit(ask: Ask) -> None:
    async with flooding() as stream:
        google = Google(GoogleAccess(KEY, stream.url, max_bytes=2**20))
        with pytest.raises(ResponseTooLarge, match="more than 1,048,576 bytes"):
            await ask(google)
        await google.aclose()
    assert stream.sent < 20 * 2**20


async def test_exactly_the_limit_is_accepted(server: Vendor, replies: list[Reply]) -> None:
    google = google_at(server, max_bytes=1000)
    replies[:] = [Reply(pad_to=1000), Reply(pad_to=1001)]
    assert len(await google.client.aio.files.download(file="files/abc")) == 1000
    with pytest.raises(ResponseTooLarge):
        await download(google)
    await google.aclose()


@pytest.mark.parametrize("ask", ASKS)
@pytest.mark.parametrize("status", [429, 500, 503])
async def test_the_sdk_tries_once(server: Vendor, replies: list[Reply], ask: Ask, status: int) -> None:
    google = google_at(server)
    replies[:] = [answer({"error": {"code": status, "message": "Later."}}, status)]
    with pytest.raises(Exception, match="Later"):
        await ask(google)
    assert len(server.requests) == 1
    await google.aclose()


async def test_only_the_deadline_ends_a_call_that_is_still_going(server: Vendor, replies: list[Reply]) -> None:
    google = google_at(server, timeout=60.0)
    replies[:] = [hang()]
    with pytest.raises(TimeoutError):
        async with google.deadline(0.1):
            await generate(google)
    assert google.deadline().when() == pytest.approx(asyncio.get_running_loop().time() + 60, abs=1)
    await google.aclose()


@pytest.mark.parametrize(("timeout", "connect"), [(120.0, 10.0), (4.0, 2.0)])
async def test_connecting_has_a_limit_of_its_own(
    server: Vendor, timeout: float, connect: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    given: list[dict[str, float]] = []

    async def refuse(_self: object, request: httpx2.Request) -> httpx2.Response:
        given.append(request.extensions["timeout"])
        raise httpx2.ConnectTimeout("timed out")

    monkeypatch.setattr(httpx2.AsyncHTTPTransport, "handle_async_request", refuse)
    google = google_at(server, timeout=timeout)
    for ask in ASKS:
        with pytest.raises(Exception, match="timed out"):
            await ask(google)
    await google.aclose()
    assert given == [{"connect": connect, "read": timeout, "write": timeout, "pool": timeout}] * 3


async def test_no_connection_is_used_twice() -> None:
    ports: list[int] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ports.append(writer.get_extra_info("peername")[1])
        with suppress(asyncio.IncompleteReadError):  # the other side has gone
            while await reader.readuntil(b"\r\n\r\n"):
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    google = Google(GoogleAccess(KEY, f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"))
    await download(google)
    await download(google)
    await google.aclose()
    server.close()
    assert len(set(ports)) == 2


async def test_blocking_calls_are_not_made(server: Vendor) -> None:
    google = google_at(server)
    with pytest.raises(httpx2.UnsupportedProtocol, match="Blocking calls"):
        google.client.models.generate_content(model="gemini-x", contents="hi")
    await google.aclose()
    assert server.requests == []


async def test_a_closed_client_sends_nothing(server: Vendor) -> None:
    google = google_at(server)
    await generate(google)
    await google.aclose()
    with pytest.raises(RuntimeError, match="closed"):
        await generate(google)


async def test_another_version_and_a_path_in_front(server: Vendor) -> None:
    google = Google(GoogleAccess(KEY, f"{server.url}/gateway/"), "v1beta")
    for ask in ASKS:
        await ask(google)
    await google.aclose()
    assert [sent.target for sent in server.requests] == [f"/gateway{path.replace('v1', 'v1beta')}" for path in PATHS]


async def test_the_key_is_not_shown() -> None:
    access = GoogleAccess(KEY)
    assert KEY not in repr(access)
    assert KEY not in repr(Google(access))


@pytest.mark.parametrize(
    ("access", "said"),
    [
        (GoogleAccess(""), "takes an API key"),
        (GoogleAccess(KEY, project="p"), "neither a project"),
        (GoogleAccess(KEY, location="l"), "neither a project"),
        (GoogleAccess("", vertex=True), "either an API key or a project"),
        (GoogleAccess(KEY, vertex=True, project="p"), "either an API key or a project"),
        (GoogleAccess(KEY, vertex=True, location="l"), "location is of a project"),
        (GoogleAccess(KEY, timeout=0), "above zero"),
        (GoogleAccess(KEY, max_bytes=0), "above zero"),
        *((GoogleAccess(KEY, url), "must be like https://host/path") for url in ODD_ADDRESSES),
    ],
)
def test_an_access_that_can_not_work_is_refused(
    access: GoogleAccess, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GOOGLE_API_KEY", "wrong-key")
    monkeypatch.setenv("GOOGLE_CLOUD_PROJECT", "wrong-project")
    with pytest.raises(ValueError, match=said):
        Google(access)
