"""What a stranger may make a process keep, and for how long: real bytes on real sockets."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest

from tallyframe.api.connections import connection_limits
from tallyframe.settings import Settings
from tests.conftest import owner_of
from tests.support.cast import Member
from tests.support.listening import Server, listening

GET = b"GET /healthz HTTP/1.1\r\nHost: x\r\n"
ISSUER = {"auth_issuer": "https://issuer.example", "auth_audience": "app"}
POST = b"POST /v1/api-keys HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"


@pytest.fixture
async def quick(settings: Settings) -> AsyncIterator[Server]:
    """A server whose limits are reached soon."""
    limits = {"header_timeout": 0.4, "stalled_timeout": 0.4, "max_connections": 12}
    async with listening(settings.replaced(**limits)) as server:
        yield server


def problem(answer: bytes) -> tuple[int, str]:
    head, _, body = answer.partition(b"\r\n\r\n")
    assert b"content-type: application/problem+json" in head.lower()
    said = json.loads(body)
    assert said["request_id"].encode() in head
    return int(head.split(b" ")[1]), said["code"]


@pytest.mark.parametrize(
    "head",
    [
        GET + b"A: b\r\n" * 20_000,
        GET + b"A: " + b"b" * 200_000,
        GET + b"a" * 200_000,
        b"GET /" + b"a" * 200_000,
        b"\r\n" * 100_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\nA: " + b"b" * 200_000,
        POST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n" + b"A: b\r\n" * 40_000,
    ],
    ids=["many", "one value", "one name", "path", "blank lines", "one trailer", "many trailers"],
)
async def test_headers_without_end_are_cut_off(quick: Server, head: bytes) -> None:
    async with quick.wire() as wire:
        await wire.send(head)
        answer = await wire.rest()
    assert not answer or b" 431 " in answer or b" 401 " in answer or b" 400 " in answer
    if head.startswith(GET):
        assert problem(answer) == (431, "headers_too_large")


async def test_large_headers_are_served(quick: Server) -> None:
    async with quick.wire() as wire:
        await wire.send(GET + b"A: " + b"b" * 30_000 + b"\r\nB: " + b"c" * 20_000 + b"\r\n\r\n")
        assert b" 200 " in await wire.answer()


async def test_what_is_no_http_is_told_so(quick: Server) -> None:
    async with quick.wire() as wire:
        await wire.send(b"hello\r\n\r\n")
        assert problem(await wire.rest()) == (400, "bad_request")


@pytest.mark.parametrize("sent", [b"", GET, GET[:3], b"\r\n"], ids=["nothing", "half", "a word", "a line"])
async def test_half_a_head_is_waited_for_so_long(quick: Server, sent: bytes) -> None:
    async with quick.wire() as wire:
        await wire.send(sent)
        answer = await wire.rest(5)
    assert not answer or problem(answer) == (408, "request_timeout")


async def test_drops_of_a_head_do_not_make_the_time_longer(quick: Server) -> None:
    async with quick.wire() as wire:
        await wire.send(GET + b"A: ")
        for _ in range(8):
            await wire.send(b"b")
            await asyncio.sleep(0.1)
            if wire.reader.at_eof():
                break
        answer = await wire.rest(5)  # a drop that comes late can undo what was said
    assert not answer or problem(answer) == (408, "request_timeout")


async def test_a_half_head_after_a_request_is_waited_for_so_long(quick: Server) -> None:
    async with quick.wire() as wire:
        await wire.send(GET + b"\r\n")
        assert b" 200 " in await wire.answer()
        await wire.send(GET)
        assert problem(await wire.rest(5)) == (408, "request_timeout")


async def test_a_body_that_nobody_wants_is_waited_for_so_long(quick: Server) -> None:
    """The answer comes at once; what still comes in time is passed over, and the connection goes on."""
    async with quick.wire() as wire:
        await wire.send(POST + b"Content-Length: 20000\r\n\r\n" + b" " * 10_000)
        assert problem(await wire.answer()) == (401, "unauthenticated")
        await wire.send(b" " * 10_000 + GET + b"\r\n")
        assert b" 200 " in await wire.answer()
        await wire.send(POST + b"Content-Length: 20000\r\n\r\n")
        assert problem(await wire.answer()) == (401, "unauthenticated")
        assert await wire.rest(5) == b""


async def test_requests_ahead_are_answered_in_their_order(quick: Server) -> None:
    many = 1_000
    body = b"Content-Length: 3\r\n\r\n{} "
    async with quick.wire() as wire:
        sending = asyncio.create_task(wire.send((GET + b"\r\n" + POST + body) * many))
        for _ in range(many):
            assert b" 200 " in await wire.answer()
            assert b" 401 " in await wire.answer()
        await sending


async def test_requests_ahead_wait_outside(quick: Server) -> None:
    """Of what a client sends that reads no answers, little is taken in, and then it is cut off."""
    request = GET + b"\r\n"
    async with quick.wire(buffer=4096) as wire:
        sending = asyncio.create_task(wire.send(request * 60_000))
        most = 0
        while quick.uvicorn.server_state.connections:
            for connection in quick.uvicorn.server_state.connections:
                most = max(most, len(connection.pipeline))  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
        await asyncio.wait_for(sending, 10)
    assert most <= 1


async def test_who_does_not_read_is_cut_off(quick: Server) -> None:
    async with quick.wire() as wire:
        wire.reader._transport.pause_reading()  # type: ignore[attr-defined]
        await wire.send((b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n") * 200)
        for _ in range(500):
            await asyncio.sleep(0.02)
            if not quick.uvicorn.server_state.connections:
                return
    pytest.fail("the connection is still there")


async def test_silent_connections_give_way(quick: Server, caplog: pytest.LogCaptureFixture) -> None:
    async with AsyncExitStack() as stack:
        silent = [await stack.enter_async_context(quick.wire()) for _ in range(40)]
        for wire in silent[::2]:
            await wire.send(GET)
        async with quick.wire() as wire:
            await wire.send(GET + b"\r\n")
            assert b" 200 " in await wire.answer()
        assert len(quick.uvicorn.server_state.connections) <= 13


async def test_who_does_not_send_or_read_gives_way(settings: Settings) -> None:
    """Ten wait for the rest of a body, or leave an answer unread. The next ones are served all the same."""
    webhook = {"clerk_webhook_signing_secret": "whsec_" + "a" * 32, **ISSUER}
    half = b"POST /v1/webhooks/clerk HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n"
    unread = b"GET /openapi.json HTTP/1.1\r\nHost: x\r\n\r\n" * 60
    settings = settings.replaced(max_connections=10, **webhook)
    async with listening(settings) as server, AsyncExitStack() as stack:
        for attack in (half, unread):
            for _ in range(12):
                wire = await stack.enter_async_context(server.wire(buffer=4096))
                wire.reader._transport.pause_reading()  # type: ignore[attr-defined]
                await wire.send(attack)
            async with asyncio.timeout(20):
                while not all(each.is_in_body or each.paused_at for each in server.uvicorn.server_state.connections):  # type: ignore[union-attr]
                    await asyncio.sleep(0.02)
            for _ in range(5):
                async with server.wire() as another:
                    await another.send(GET + b"\r\n")
                    assert b" 200 " in await another.answer()


async def test_requests_under_way_are_not_given_up(settings: Settings, alice: Member, database_url: str) -> None:
    request = f"GET /v1/projects HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {alice.key}\r\n\r\n".encode()
    async with listening(settings.replaced(max_connections=10)) as server, AsyncExitStack() as stack:
        wires = [await stack.enter_async_context(server.wire()) for _ in range(10)]
        async with owner_of(database_url) as owner, owner.transaction():
            await owner.execute("LOCK TABLE projects")
            for wire in wires:
                await wire.send(request)
            while not all(each.running for each in server.uvicorn.server_state.connections):  # type: ignore[union-attr]
                await asyncio.sleep(0.01)
            async with server.wire() as one_too_many:
                assert problem(await one_too_many.rest()) == (503, "unavailable")
        assert b" 200 " in await wires[0].answer()


async def test_who_leaves_is_noticed_although_requests_wait_behind(
    settings: Settings, alice: Member, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    order = b"GET /v1/projects HTTP/1.1\r\nHost: x\r\n" + f"Authorization: Bearer {alice.key}\r\n\r\n".encode()
    async with listening(settings) as server, owner_of(database_url) as owner:
        async with owner.transaction():
            await owner.execute("LOCK TABLE projects")
            async with server.wire() as wire:
                await wire.send(order + GET + b"\r\n" + GET + b"\r\n")
                while not any(each.pipeline for each in server.uvicorn.server_state.connections):  # type: ignore[union-attr]
                    await asyncio.sleep(0.01)
                [connection] = server.uvicorn.server_state.connections
                running = connection.running  # type: ignore[union-attr]
            while server.uvicorn.server_state.connections:
                await asyncio.sleep(0.01)
            assert running.disconnected
        assert not [record for record in caplog.records if record.exc_info]


@pytest.mark.parametrize("extra", [0, 1])
@pytest.mark.parametrize("way", ["one value", "many", "path"])
async def test_headers_may_have_exactly_64_kib(quick: Server, way: str, extra: int) -> None:
    room = 65_536 - len("/healthz") - len("Host") - len("x") - 4 + extra
    if way == "one value":
        request = GET + b"A: " + b"b" * (room - 5) + b"\r\n\r\n"
    elif way == "path":
        request = GET.replace(b"/healthz", b"/healthz?" + b"b" * 3000) + b"A: " + b"b" * (room - 3001 - 5) + b"\r\n\r\n"
    else:
        lines, rest = divmod(room, 100)
        request = GET + (b"A: " + b"b" * 95 + b"\r\n") * (lines - 1) + b"A: " + b"b" * (95 + rest) + b"\r\n\r\n"
    async with quick.wire() as wire:
        await wire.send(request)
        if extra:
            assert problem(await wire.rest()) == (431, "headers_too_large")
        else:
            assert b" 200 " in await wire.answer()


async def test_blank_lines_after_a_request_keep_no_connection(quick: Server) -> None:
    async with quick.wire() as wire:
        await wire.send(GET + b"\r\n")
        assert b" 200 " in await wire.answer()
        for _ in range(8):
            await wire.send(b"\r\n")
            await asyncio.sleep(0.1)
        assert await wire.rest(3) == b""


def test_a_process_takes_no_more_connections_than_it_has_descriptors(
    monkeypatch: pytest.MonkeyPatch, settings: Settings
) -> None:
    for descriptors, most in ((256, 160), (64, 32), (1_000_000, 1000), (-1, 1000)):
        monkeypatch.setattr("resource.getrlimit", lambda _, descriptors=descriptors: (descriptors, descriptors))
        assert connection_limits(settings.requests).connections == most
