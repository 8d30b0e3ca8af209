"""Small programs for the tests: an API, a worker, one that fails, one that keeps a child, and a whole stack of them.

python stand_in.py api PORT | worker | broken | parent FILE | stack FOLDER PORT [COMMAND OF THE WORKER ...]
"""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import TCPServer
from types import FrameType


class _Ready(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base class calls it so
        pass


def _end_noting(name: str) -> None:
    """On SIGTERM, append `name` to the file `ended` in the data folder, and go."""

    def leave(number: int, frame: FrameType | None) -> None:
        folder = os.environ.get("TALLYFRAME_DATA_DIR")
        if folder:
            with Path(folder, "ended").open("a") as file:
                file.write(f"{name}\n")
        sys.exit(0)

    signal.signal(signal.SIGTERM, leave)


def api(port: str) -> None:
    _end_noting("api")
    TCPServer.allow_reuse_address = True
    TCPServer(("127.0.0.1", int(port)), _Ready).serve_forever()  # HTTPServer would look its name up first


def worker() -> None:
    _end_noting("worker")
    if folder := os.environ.get("TALLYFRAME_DATA_DIR"):
        Path(folder, "working").touch()
        Path(folder, f"working-{os.getpid()}").touch()
    time.sleep(600)


def broken() -> None:
    sys.exit("TALLYFRAME_PRICES: not JSON")


def parent(file: str) -> None:
    with subprocess.Popen(["/bin/sleep", "600"]) as child:
        Path(file).write_text(str(child.pid))


def stack(folder: str, port: str, *command: str) -> None:
    import asyncpg

    from tallyframe.embedded import EmbeddedError, Plan, run

    async def worker_ready(url: str) -> bool:
        return url.startswith("postgresql://") and working.exists()

    async def prepare(url: str) -> Mapping[str, str]:
        working.unlink(missing_ok=True)
        connection = await asyncpg.connect(url)
        await connection.execute("CREATE TABLE IF NOT EXISTS starts (id serial)")
        await connection.execute("INSERT INTO starts DEFAULT VALUES")
        count = await connection.fetchval("SELECT count(*) FROM starts")
        await connection.close()
        return {"admin_api_key": "tf_admin", "api_key": f"tf_{count}"}

    working = Path(folder, "working")
    me = [sys.executable, __file__]
    plan = Plan(
        data_dir=Path(folder),
        port=int(port),
        api=[*me, "api", port],
        worker=[*me, *(command or ["worker"])],
        env=dict(os.environ),
        prepare=prepare,
        worker_ready=worker_ready,
        on_ready=lambda found: print("ready", found["url"], flush=True),  # noqa: T201 - the test reads it
    )
    try:
        asyncio.run(run(plan))
    except EmbeddedError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    roles: dict[str, Callable[..., None]] = {"api": api, "worker": worker, "broken": broken}
    roles |= {"parent": parent, "stack": stack}
    roles[sys.argv[1]](*sys.argv[2:])
