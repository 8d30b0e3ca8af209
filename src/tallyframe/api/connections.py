"""One HTTP connection: uvicorn's, with bounds on what a stranger may make us keep, and for how long.

uvicorn's parser takes headers of any length, begins every request that a client sends ahead, and waits for ever for a
request that doesn't come or a client that doesn't read. Here each of these has a limit; what breaks one is closed.
"""

import asyncio
import json
import resource
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from time import monotonic

import structlog
from uvicorn._types import ASGI3Application
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from tallyframe.api.metrics import CONNECTIONS_CLOSED
from tallyframe.api.problems import MEDIA_TYPE, problem_body
from tallyframe.ids import new_id
from tallyframe.settings.requests import RequestSettings

log = structlog.get_logger()

#: Bytes that the parser gets at once, at most. It gets no more than one request's headers at once, or one body.
_SLICE = 8 * 1024
#: The same of a body whose length is not announced. What follows it in these bytes is begun ahead.
_CHUNKED_SLICE = 256
#: Bytes that are kept of a client that sends ahead while it is answered: then reading stops, and then it is closed.
_PAUSE_AT, _MOST_HELD = 64 * 1024, 1024 * 1024
#: A body may have eight bytes of framing for each of its own: as much as chunks of one byte with their lengths.
_FRAMING = 8
#: Bytes of a header beside its name and value: the colon, a space, and the end of the line.
_PER_HEADER = 4
#: Descriptors that a process needs beside its connections: for servers, files and storages.
_SPARE_DESCRIPTORS = 96
#: Seconds between two warnings that a process is full.
_WARN_EVERY = 10.0


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """What one connection may take, and how many there may be in a process."""

    connections: int
    header_bytes: int
    header_seconds: float  # for a request line and its headers
    stalled_seconds: float  # for a client that doesn't read on


def connection_limits(requests: RequestSettings) -> ConnectionLimits:
    """Return the limits, with no more connections than the process has descriptors for."""
    descriptors, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    most = requests.max_connections
    if descriptors != resource.RLIM_INFINITY:
        most = min(most, max(descriptors - _SPARE_DESCRIPTORS, descriptors // 2))
    return ConnectionLimits(most, requests.max_header_bytes, requests.header_timeout, requests.stalled_timeout)


def _announced(headers: list[tuple[bytes, bytes]]) -> int | None:
    """Return how many bytes of body were announced; 0 where there is none, None where it comes in chunks."""
    by_name = dict(headers)
    if b"transfer-encoding" in by_name:
        return None
    length = by_name.get(b"content-length", b"0")
    return int(length) if length.isdigit() else None


class Connection(HttpToolsProtocol):
    """A connection of an API process. Its limits are in the state that the app's lifespan yields."""

    _warned = -_WARN_EVERY  # when the process last said that it is full

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        """Start the clock for the first request, and make room where the process is full."""
        self.limits: ConnectionLimits = self.app_state["connection_limits"]
        self.held = b""  # what came ahead, and isn't parsed yet
        self.is_in_headers = self.is_in_body = False
        self.loose_bytes = 0  # that are neither a body's nor complete headers
        self.head_bytes = 0  # of the latest request: its address and headers
        self.body_left: int | None = 0  # bytes to come, where that was announced
        self.running: RequestResponseCycle | None = None
        self.since = monotonic()  # when a request was under way last
        self.paused_at: float | None = None  # since when its client doesn't read
        self.clocks: dict[str, asyncio.TimerHandle] = {}
        is_full = len(self.connections) >= self.limits.connections
        super().connection_made(transport)
        self._start("header", self.limits.header_seconds, self._header_is_late)
        if is_full:
            self._make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all clocks, and tell the request that is under way, which uvicorn doesn't if others wait behind it."""
        for name in list(self.clocks):
            self._stop(name)
        self._disconnect()
        super().connection_lost(exc)

    def _disconnect(self) -> None:
        """Let what is under way know that nobody listens, so that it ends and writes nothing more."""
        self.held = b""
        queued = [cycle for cycle, _ in self.pipeline]
        self.pipeline.clear()
        for cycle in (self.running, *queued):
            if cycle and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: ASGI3Application) -> None:
        self.running = cycle
        super()._start_asgi_task(cycle, app)

    def _make_room(self) -> None:
        """Close who has waited longest for a request; else who has not read for longest; else whose body is slowest.

        Where there is none of these, the new one is refused.
        """
        if monotonic() - Connection._warned > _WARN_EVERY:
            Connection._warned = monotonic()
            log.warning("connections_full", limit=self.limits.connections)
        others = [each for each in self.connections if isinstance(each, Connection) and each is not self]
        waiting = [(each.since, id(each), each) for each in others if each.is_waiting]
        unread = [(each.paused_at, id(each), each) for each in others if each.paused_at is not None]
        sending = [(each.since, id(each), each) for each in others if each.is_in_body]
        if candidates := waiting or unread or sending:
            min(candidates)[-1].close_now("full")
        else:
            self._refuse(503, "unavailable", "This process has as many connections as it can serve. Try again shortly.")

    @property
    def is_waiting(self) -> bool:
        """Whether no request is under way: none has come with all of its headers, or the last is answered."""
        return self.running is None or (self.running.response_complete and not self.pipeline)

    def data_received(self, data: bytes) -> None:
        """Parse what has come, piece by piece, so that what grows is noticed while it is small."""
        data = self.held + data if self.held else data
        self.held, start = b"", 0
        while start < len(data) and not self.pipeline:  # one request ahead is enough
            piece = data[start : start + self._size_of_piece(data, start)]
            start += len(piece)
            self.loose_bytes += len(piece)
            super().data_received(piece)
            if self.transport.is_closing():
                return
            if max(self.loose_bytes, self.head_bytes) > self.limits.header_bytes:
                words = f"A request's headers may have {self.limits.header_bytes:,} bytes."
                self._refuse(431, "headers_too_large", words)
                return
        self.held = data[start:]
        if "header" not in self.clocks and (self.is_in_headers or (self.is_waiting and not self.is_in_body)):
            self._start("header", self.limits.header_seconds, self._header_is_late)  # most come whole, and need none
        if len(self.held) > _MOST_HELD:
            self.close_now("sent_ahead")
        elif len(self.held) > _PAUSE_AT:
            self.flow.pause_reading()
        elif self.pipeline:  # uvicorn has paused; but who doesn't read doesn't notice that the client leaves
            self.flow.resume_reading()

    def _size_of_piece(self, data: bytes, start: int) -> int:
        """Return how many bytes the parser gets: up to the end of the headers, of the body, or of a slice."""
        if self.is_in_body:
            return _CHUNKED_SLICE if self.body_left is None else min(_SLICE, max(self.body_left, 1))
        ends = [data.find(blank, start, start + _SLICE) for blank in (b"\n\r\n", b"\n\n")]
        return min((end - start + 3 for end in ends if end >= 0), default=_SLICE)

    def on_message_begin(self) -> None:
        """Note that headers come."""
        super().on_message_begin()
        self.loose_bytes = self.head_bytes = 0
        self.is_in_headers = True

    def on_url(self, url: bytes) -> None:
        """Keep a part of the address."""
        self.head_bytes += len(url)
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header. One after a chunked body (a trailer) is dropped: the app has the others already."""
        self.head_bytes += len(name) + len(value) + _PER_HEADER
        if self.is_in_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Begin the request, or queue it behind the one before; unless its headers are too large."""
        self._stop("header")
        self.loose_bytes = 0
        self.is_in_headers, self.is_in_body = False, True
        if self.head_bytes <= self.limits.header_bytes:
            self.body_left = _announced(self.headers)
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Keep a part of the body; of one that is answered, nothing."""
        self.loose_bytes -= min(self.loose_bytes, len(body) * (_FRAMING + 1))
        self.body_left = None if self.body_left is None else self.body_left - len(body)
        if self.head_bytes <= self.limits.header_bytes:
            super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait for the next request; if this one was answered before its end, only now."""
        self.loose_bytes = 0
        self.is_in_body = False
        if self.head_bytes > self.limits.header_bytes:
            return
        if "rest" in self.clocks:
            self._stop("rest")
            self._unset_keepalive_if_required()
            self.timeout_keep_alive_task = self.loop.call_later(
                self.timeout_keep_alive, self.timeout_keep_alive_handler
            )
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Go on with the next request; give the rest of a body that nobody reads a little time to come."""
        super().on_response_complete()
        self.since = monotonic()
        self.paused_at = self.paused_at if self.flow.write_paused else None
        if self.transport.is_closing():
            self._start("close", self.limits.stalled_seconds, self._client_is_gone)
        elif self.held:
            self.data_received(b"")
        elif self.is_in_body:
            self._start("rest", self.limits.header_seconds, self._client_is_gone)

    def pause_writing(self) -> None:
        """Give the client some time to read."""
        super().pause_writing()
        self.paused_at = self.paused_at or monotonic()
        self._start("read", self.limits.stalled_seconds, self._client_is_gone)

    def resume_writing(self) -> None:
        """Go on: it has read."""
        super().resume_writing()
        self._stop("read")
        if self.is_waiting:
            self.paused_at = None

    def timeout_keep_alive_handler(self) -> None:
        """Close a connection on which nothing more comes, even if its client has not read all yet."""
        super().timeout_keep_alive_handler()
        self._start("close", self.limits.stalled_seconds, self._client_is_gone)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is no HTTP."""
        self._refuse(400, "bad_request", msg)

    def close_now(self, reason: str) -> None:
        """Close without another word, whatever is under way."""
        CONNECTIONS_CLOSED.labels(reason).inc()
        self._disconnect()
        self.transport.abort()

    def _refuse(self, status: int, code: str, detail: str) -> None:
        """Answer and close; amid another answer, only close."""
        self.held = b""
        if not self.is_waiting:
            self.close_now(code)
            return
        CONNECTIONS_CLOSED.labels(code).inc()
        request_id = str(new_id())
        body = json.dumps(problem_body(status, code, detail, request_id)).encode()
        headers = {
            "content-type": MEDIA_TYPE,
            "content-length": str(len(body)),
            "x-request-id": request_id,
            "connection": "close",
            **({"retry-after": "1"} if status == HTTPStatus.SERVICE_UNAVAILABLE else {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        self.transport.write(STATUS_LINE[status] + lines.encode() + b"\r\n" + body)
        self.transport.close()
        self._start("close", self.limits.stalled_seconds, self._client_is_gone)

    def _header_is_late(self) -> None:
        if self.held or self.pipeline:  # it may have come: it waits for us
            self._start("header", self.limits.header_seconds, self._header_is_late)
        elif self.is_in_headers:
            self._refuse(408, "request_timeout", "The request's headers did not come in time.")
        else:
            self.close_now("silent")

    def _client_is_gone(self) -> None:
        self.close_now("stalled")

    def _start(self, name: str, seconds: float, strike: Callable[[], None]) -> None:
        self._stop(name)

        def struck() -> None:
            del self.clocks[name]
            strike()

        self.clocks[name] = self.loop.call_later(seconds, struck)

    def _stop(self, name: str) -> None:
        if clock := self.clocks.pop(name, None):
            clock.cancel()
