"""The stack that the demo runs, and its user: both made by the command line, in child processes."""

import asyncio
import json
import signal
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console

from tallyframe.embedded import ports
from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.processes import send
from tallyframe.embedded.stack import read_stack

READY_WITHIN = 60.0  # seconds


@asynccontextmanager
async def running_stack(data_dir: Path, out: Console) -> AsyncIterator[dict[str, str]]:
    """Run `tallyframe dev` for the block, on a free port, and yield what its stack.json says; its log goes to a file.

    Raises EmbeddedError, with the last line of the log, if it ends before it is ready.
    """
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    log = data_dir / "demo.log"
    out.print(f"Starting the embedded stack (log: {log}) ...")
    port = ports.choose(0, avoid=0)
    command = [sys.executable, "-m", "tallyframe", "dev", "--port", str(port), "--data-dir", str(data_dir)]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=output, stderr=STDOUT)
    try:
        async with asyncio.timeout(READY_WITHIN):
            while not (data_dir / "stack.json").exists():
                if process.returncode is not None:
                    raise EmbeddedError(*(await asyncio.to_thread(log.read_text)).strip().splitlines()[-1:])
                await asyncio.sleep(0.05)
        yield read_stack(data_dir)
    finally:
        with suppress(ProcessLookupError):
            send(process, signal.SIGTERM)
        await process.wait()


async def new_user(data_dir: Path, out: Console) -> dict[str, str]:
    """Add a user on the command line, as an operator would, and return what that prints: id, email and API key."""
    email = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}@example.com"
    command = [sys.executable, "-m", "tallyframe", "user", "add", email, "--data-dir", str(data_dir)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    output, _ = await process.communicate()
    user: dict[str, str] = json.loads(output)
    out.print(f"Signed up {user['email']} with the sign-up credits.")
    return user
