import asyncio
import errno
import time

import pytest

from tallyframe.assets.fetch import fetch_picture
from tallyframe.errors import TooLarge, ValidationFailed
from tests.support.fetching import NOT_FETCHED, PICTURE, Head, get, sends, stub


async def test_a_picture_arrives_and_the_request_says_little(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    seen: list[tuple[str, Head]] = []

    async def answer(path: str, head: Head, writer: asyncio.StreamWriter) -> None:
        seen.append((path, head))
        await sends("200 OK", PICTURE, Content_Type="text/html")(path, head, writer)

    async with stub(answer) as port:
        assert await get(port, "/a%20cat.png?size=1&x=%2F#top") == PICTURE
    [(path, head)] = seen
    assert path == "/a%20cat.png?size=1&x=%2F"
    assert head.pop("user-agent").startswith("Tallyframe/")
    assert head == {
        "host": f"pictures.example:{port}",
        "accept": "image/*",
        "accept-encoding": "identity",
        "connection": "close",
    }


@pytest.mark.parametrize(
    ("status", "code"), [("404 Not Found", 404), ("500 Oops", 500), ("304 Not Modified", 304), ("302 Found", 302)]
)
async def test_other_than_2xx_is_named(status: str, code: int) -> None:
    async with stub(sends(status, b"secret words of a server")) as port:
        with pytest.raises(ValidationFailed) as caught:
            await get(port)
    assert caught.value.detail == f"{NOT_FETCHED} (HTTP {code})."


@pytest.mark.parametrize(
    "garbage", [b"", b"\x00" * 100, b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\nshort", b"x" * 200_000]
)
async def test_what_is_not_http_is_not_fetched(garbage: bytes) -> None:
    async def answer(_path: str, _head: Head, writer: asyncio.StreamWriter) -> None:
        writer.write(garbage)

    async with stub(answer) as port:
        with pytest.raises(ValidationFailed) as caught:
            await get(port)
    assert caught.value.detail == f"{NOT_FETCHED}."


async def test_nothing_listening_is_not_fetched_and_no_address_of_ours_shows() -> None:
    async with stub(sends("200 OK")) as port:
        pass
    with pytest.raises(ValidationFailed) as caught:
        await get(port)
    assert caught.value.detail == f"{NOT_FETCHED}."


async def test_a_resolver_that_fails_is_not_fetched(monkeypatch: pytest.MonkeyPatch) -> None:
    async def resolve(_host: str, _port: int) -> str:
        raise OSError(errno.EMFILE, "too many open files")

    with pytest.raises(ValidationFailed) as caught:
        await fetch_picture("http://8.8.8.8/", max_bytes=1000, deadline=5, resolve=resolve)
    assert caught.value.detail == f"{NOT_FETCHED}."


@pytest.mark.parametrize("length", [{}, {"Content_Length": "1000001"}])
async def test_more_bytes_than_allowed(length: dict[str, str]) -> None:
    async with stub(sends("200 OK", bytes(1_000_001), **length)) as port:
        with pytest.raises(TooLarge) as caught:
            await get(port, max_bytes=1_000_000)
    assert caught.value.detail == "The picture at this address has more than 1,000,000 bytes."
    async with stub(sends("200 OK", bytes(1_000_000))) as port:
        assert len(await get(port, max_bytes=1_000_000)) == 1_000_000


@pytest.mark.parametrize("head", [b"", b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 200 OK\r\nX: "])
async def test_a_slow_drip_ends_at_the_deadline(head: bytes) -> None:
    async def answer(_path: str, _head: Head, writer: asyncio.StreamWriter) -> None:
        writer.write(head)
        while not writer.is_closing():
            writer.write(b"x")
            await writer.drain()
            await asyncio.sleep(0.01)

    began = time.monotonic()
    async with stub(answer) as port:
        with pytest.raises(ValidationFailed) as caught:
            await get(port, deadline=0.2) if head else await slow_name(port)
    assert caught.value.detail == f"{NOT_FETCHED}: it took longer than 0.2 seconds."
    assert time.monotonic() - began < 10  # it would drip, and the name would take a minute


async def slow_name(port: int) -> bytes:
    async def resolve(_host: str, _port: int) -> str:
        await asyncio.sleep(60)
        return "127.0.0.1"

    return await fetch_picture(f"http://a.example:{port}", max_bytes=9, deadline=0.2, resolve=resolve, ports=(port,))
