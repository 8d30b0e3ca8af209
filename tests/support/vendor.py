"""A local HTTP server in a vendor's place: keeps each request as it came, answers as told, misbehaves on demand."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class Request:
    """A request as it was received; `target` is the raw path with its query, `path` is decoded."""

    method: str
    target: str
    headers: dict[str, str]  # names in lower case
    body: bytes

    @property
    def path(self) -> str:
        return unquote(urlsplit(self.target).path)

    @property
    def query(self) -> dict[str, str]:
        return dict(parse_qsl(urlsplit(self.target).query, keep_blank_values=True))

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass(frozen=True)
class Reply:
    """An answer; as it is, or a way to fail."""

    status: int = 200
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0  # seconds before anything is sent
    cut_after: int | None = None  # bytes of the body after which the connection is cut, though all were announced
    pad_to: int = 0  # bytes to which the body is filled up with spaces, in chunks, so that it costs no memory here
    drop: bool = False  # close without a word


def answer(body: Any = None, status: int = 200, **headers: str) -> Reply:
    """A JSON reply; in header names '_' stands for '-'."""
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    return Reply(status, json.dumps(body).encode(), {"Content-Type": "application/json", **names})


DROP = Reply(drop=True)


def hang(seconds: float = 60) -> Reply:
    return Reply(delay=seconds)


Answer = Callable[[Request], Reply | Awaitable[Reply]]

_CHUNK = b" " * 65536


@dataclass
class Vendor:
    """The running server: where it is and what it was asked."""

    url: str
    requests: list[Request] = field(default_factory=list)

    def asked(self, method: str, path_part: str) -> list[Request]:
        return [request for request in self.requests if request.method == method and path_part in request.path]


@asynccontextmanager
async def vendor(give: Answer, *, port: int = 0) -> AsyncIterator[Vendor]:
    """Serve on loopback until the block ends; `give` decides on each request, which is kept before it is answered."""
    connections: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task
        connections.add(task)
        try:
            while request := await _read(reader, writer):
                served.requests.append(request)
                given = give(request)
                reply = given if isinstance(given, Reply) else await given
                if not await _send(writer, request, reply):
                    return
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the other side has gone, or the test has ended
        finally:
            connections.discard(task)
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, limit=2**20)
    served = Vendor(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
    try:
        yield served
    finally:
        server.close()
        for task in list(connections):
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)


async def _read(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Request | None:
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise
        return None
    first, *lines = head.removesuffix("\r\n\r\n").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    if headers.get("expect") == "100-continue":
        writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
    method, target, _ = first.split(" ")
    return Request(method, target, headers, await _read_body(reader, headers))


async def _read_body(reader: asyncio.StreamReader, headers: dict[str, str]) -> bytes:
    if headers.get("transfer-encoding", "").lower() != "chunked":
        return await reader.readexactly(int(headers.get("content-length", "0")))
    body = b""
    while size := int((await reader.readline()).split(b";")[0], 16):
        body += await reader.readexactly(size)
        await reader.readline()
    await reader.readline()
    return body


async def _send(writer: asyncio.StreamWriter, request: Request, reply: Reply) -> bool:
    """Send the reply; False: the connection is to be closed."""
    await asyncio.sleep(reply.delay)
    if reply.drop:
        return False
    length = max(len(reply.body), reply.pad_to)
    headers = {"Content-Length": str(length), "Connection": "keep-alive", **reply.headers}
    lines = [f"HTTP/1.1 {reply.status} Told", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
    writer.write("\r\n".join(lines).encode("latin-1"))
    if request.method == "HEAD":
        return True
    writer.write(reply.body if reply.cut_after is None else reply.body[: reply.cut_after])
    if reply.cut_after is not None:
        await writer.drain()
        return False
    for start in range(len(reply.body), reply.pad_to, len(_CHUNK)):
        writer.write(_CHUNK[: reply.pad_to - start])
        await writer.drain()
    await writer.drain()
    return True
