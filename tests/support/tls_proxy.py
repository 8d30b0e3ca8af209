"""Postgres behind TLS: the servers of these tests are built without it, so a proxy speaks it in front of one.

Before anything else, a client that wants TLS sends an SSLRequest, and the server answers with one byte, `S`
(PostgreSQL's manual, section "SSL Session Encryption").
"""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from tests.support.certificates import Certificates

SSL_REQUEST = (8).to_bytes(4) + (80877103).to_bytes(4)


@dataclass
class TlsProxy:
    url: str
    encrypted: list[bool] = field(default_factory=list)  # each connection that has sent its start-up message


@asynccontextmanager
async def tls_proxy(url: str, made: Certificates, *, is_required: bool = False) -> AsyncIterator[TlsProxy]:
    """Serve the database of the URL at another port; without TLS as well, unless that is required."""
    parts = urlsplit(url)
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(made.certificate, made.key)
    proxy, tasks = TlsProxy(""), set[asyncio.Task[None]]()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(task := asyncio.current_task() or asyncio.create_task(asyncio.sleep(0)))
        with suppress(OSError, EOFError, asyncio.CancelledError):
            start = await reader.readexactly(8)
            if has_asked := start == SSL_REQUEST:
                writer.write(b"S")
                await writer.start_tls(context)
                start = await reader.readexactly(8)
            proxy.encrypted.append(has_asked)
            if has_asked or not is_required:
                up_reader, up_writer = await asyncio.open_connection(parts.hostname, parts.port)
                up_writer.write(start)
                await asyncio.gather(_copy(reader, up_writer), _copy(up_reader, writer))
        writer.close()
        tasks.discard(task)

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        proxy.url = parts._replace(netloc=f"{parts.username}:{parts.password}@127.0.0.1:{port}").geturl()
        yield proxy
        for task in list(tasks):
            task.cancel()


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while data := await reader.read(65536):
        writer.write(data)
        await writer.drain()
    writer.close()
