"""A server of pictures on loopback, for the tests of fetching by address."""

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest

from tallyframe.assets.fetch import fetch_picture
from tallyframe.assets.lookups import Lookups

NOT_ALLOWED = "The address of this picture is not allowed: only public http(s) addresses on ports 80 and 443."
NOT_FETCHED = "The picture's address could not be fetched"
PICTURE = b"\x89PNG and so on" * 1000
#: As the API has it, for one user.
resolve_public = partial(Lookups(at_once=8, of_one_user=8, wait=5).resolve, "somebody")
Head = dict[str, str]
Answer = Callable[[str, Head, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def stub(answer: Answer, context: ssl.SSLContext | None = None) -> AsyncIterator[int]:
    """Serve on a free port of 127.0.0.1; `answer` gets the path, the headers and the connection."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("ascii").strip().split("\r\n")
            head = {name.lower(): value for name, value in (line.split(": ", 1) for line in lines)}
            await answer(first.split(" ")[1], head, writer)
            await writer.drain()
        except (ConnectionError, asyncio.IncompleteReadError):
            pass  # the other side has seen enough
        finally:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context)
    async with server:
        yield server.sockets[0].getsockname()[1]


def sends(status: str, body: bytes = b"", **headers: str) -> Answer:
    async def answer(_path: str, _head: Head, writer: asyncio.StreamWriter) -> None:
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        writer.write("\r\n".join([f"HTTP/1.1 {status}", "Connection: close", *lines, "", ""]).encode() + body)

    return answer


async def to_stub(host: str, port: int) -> str:
    """Find .example names on this machine and look up everything else as usual."""
    return "127.0.0.1" if host.endswith(".example") else await resolve_public(host, port)


async def get(port: int, path: str = "/cat.png", *, max_bytes: int = 1_000_000, deadline: float = 5) -> bytes:
    url = f"http://pictures.example:{port}{path}"
    return await fetch_picture(url, max_bytes=max_bytes, deadline=deadline, resolve=to_stub, ports=(port, 80, 443))


def answers(monkeypatch: pytest.MonkeyPatch, found: dict[str, list[str]]) -> list[str]:
    """Make the system's resolver know just `found` and literal addresses. Returns the list of what it is asked."""
    asked: list[str] = []
    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, **options: Any) -> list[Any]:
        asked.append(host)
        if host not in found:
            return real(host, port, **options | {"flags": socket.AI_NUMERICHOST})
        return [(0, 0, 0, "", (address, port)) for address in found[host]]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    return asked
