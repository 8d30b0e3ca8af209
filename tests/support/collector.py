"""A local HTTP server that keeps what it is sent, in the place of Sentry or an OpenTelemetry collector."""

import gzip
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from time import monotonic, sleep


@dataclass
class Collector:
    url: str = ""
    received: list[tuple[str, bytes]] = field(default_factory=list)

    def until(self, text: bytes, seconds: float = 60) -> bytes:
        """Wait until something that contains `text` has arrived and return it."""
        end = monotonic() + seconds
        while monotonic() < end:
            for _, body in list(self.received):
                if text in body:
                    return body
            sleep(0.02)
        raise AssertionError(f"{text!r} never arrived; {[path for path, _ in self.received]} did")


@contextmanager
def collecting() -> Iterator[Collector]:
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            unpacked = gzip.decompress(body) if self.headers.get("Content-Encoding") == "gzip" else body
            collector.received.append((self.path, unpacked))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # the base class's name for it
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    collector.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield collector
    server.shutdown()
    server.server_close()
    thread.join()
