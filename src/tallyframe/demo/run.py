"""Runs the embedded stack, buys one image and one video as any client would, and shows the books."""

import asyncio
import json
import socket
import sys
from asyncio.subprocess import DEVNULL, PIPE, STDOUT, Process
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from tallyframe.embedded.errors import EmbeddedError
from tallyframe.embedded.stack import read_stack
from tallyframe.storages.base import EXTENSIONS

SAMPLES = Path(__file__).parent / "samples"
IMAGE_PROMPT = "A cheerful host shows her favourite cup of coffee to the camera, morning light"
VIDEO_PROMPT = "The camera glides slowly over the scene"
VIDEO_SECONDS = 4
READY_WITHIN = 60.0  # seconds
DONE_WITHIN = 900.0  # seconds; a real vendor takes minutes for a film

#: A generation's steps in their order, and how the demo says them.
STEPS = {"queued": "queued", "generating": "generating", "storing": "storing", "completed": "done"}

console = Console(highlight=False, soft_wrap=True)


async def run_demo(data_dir: Path) -> None:
    """Run the demo with its data in `data_dir`. Raises EmbeddedError when it can't."""
    data_dir = await asyncio.to_thread(data_dir.absolute)
    started = monotonic()
    async with _stack(data_dir) as stack:
        console.print(f"Postgres, Valkey, API and worker are up after {monotonic() - started:.1f} s: {stack['url']}")
        user = await _new_user(data_dir)
        headers = {"Authorization": f"Bearer {user['api_key']}"}
        async with httpx.AsyncClient(base_url=stack["url"], headers=headers, timeout=30) as client:
            project = await _make_image(client)
            project = await _make_video(client, project["id"])
            await _show_files(client, project, data_dir / "output")
            await _show_ledger(client)
    console.print("\nStopped again. `make run` keeps it running and prints an API key; the docs are at /docs then.")


@asynccontextmanager
async def _stack(data_dir: Path) -> AsyncIterator[dict[str, str]]:
    """Run `tallyframe dev` as a child for the block, on a free port; its log goes to a file."""
    await asyncio.to_thread(data_dir.mkdir, parents=True, exist_ok=True)
    log = data_dir / "demo.log"
    console.print(f"Starting the embedded stack (log: {log}) ...")
    command = [sys.executable, "-m", "tallyframe", "dev", "--port", str(_free_port()), "--data-dir", str(data_dir)]
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(*command, stdin=DEVNULL, stdout=output, stderr=STDOUT)
    try:
        yield await _ready(process, data_dir, log)
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()


async def _ready(process: Process, data_dir: Path, log: Path) -> dict[str, str]:
    async with asyncio.timeout(READY_WITHIN):
        while process.returncode is None:
            try:
                return read_stack(data_dir)
            except EmbeddedError:
                await asyncio.sleep(0.05)
    last = (await asyncio.to_thread(log.read_text)).strip().splitlines()[-1:]
    raise EmbeddedError(*last)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


async def _new_user(data_dir: Path) -> dict[str, str]:
    """Add a user by the command line, as an operator would."""
    email = f"demo-{datetime.now(UTC):%Y%m%d-%H%M%S}@example.com"
    command = [sys.executable, "-m", "tallyframe", "user", "add", email, "--data-dir", str(data_dir)]
    process = await asyncio.create_subprocess_exec(*command, stdout=PIPE)
    output, _ = await process.communicate()
    user: dict[str, str] = json.loads(output)
    console.print(f"Signed up {user['email']} with the sign-up credits.")
    return user


async def _make_image(client: httpx.AsyncClient) -> dict[str, Any]:
    console.print("\n[bold]One image from two photos[/]: person.jpg and product.jpg, 9:16")
    files = [
        ("images", (name, await asyncio.to_thread((SAMPLES / name).read_bytes), "image/jpeg"))
        for name in ("person.jpg", "product.jpg")
    ]
    order = {"kind": "image", "prompt": IMAGE_PROMPT, "aspect_ratio": "9:16"}
    return await _watch(client, await client.post("/v1/projects", data=order, files=files))


async def _make_video(client: httpx.AsyncClient, project_id: str) -> dict[str, Any]:
    console.print(f"\n[bold]One video from that image[/]: {VIDEO_SECONDS} s, 9:16")
    order = {"prompt": VIDEO_PROMPT, "duration_seconds": VIDEO_SECONDS}
    return await _watch(client, await client.post(f"/v1/projects/{project_id}/video", json=order))


async def _watch(client: httpx.AsyncClient, accepted: httpx.Response) -> dict[str, Any]:
    """Print each step as it is seen, with the time since the order; return the finished project."""
    started, shown = monotonic(), 0
    project: dict[str, Any] = accepted.json()
    if accepted.status_code != httpx.codes.ACCEPTED:
        raise EmbeddedError(f"The order was refused: {project.get('detail')}")
    async with asyncio.timeout(DONE_WITHIN):
        while project["is_generating"]:
            shown = _show_steps(shown, project["generation"]["step"], started)
            await asyncio.sleep(0.01)  # far more often than a client should, to show when each step began
            project = (await client.get(f"/v1/projects/{project['id']}")).json()
    if project["error"]:
        raise EmbeddedError(f"It failed: {project['error']['message']}")
    charge = project["generation"]["credits"]
    _show_steps(shown, "completed", started)
    made_by = f"{project['generation']['provider']}, {project['generation']['model']}"
    console.print(f"           {charge['charged'] - charge['refunded']} credits, made by {made_by}")
    return project


def _show_steps(shown: int, step: str, started: float) -> int:
    """Print the steps up to `step` that aren't shown yet, with the time when they were known to have begun."""
    reached = list(STEPS).index(step) + 1
    for words in list(STEPS.values())[shown:reached]:
        console.print(f"  {monotonic() - started:5.1f} s  {words}")
    return max(shown, reached)


async def _show_files(client: httpx.AsyncClient, project: dict[str, Any], folder: Path) -> None:
    """Download what was made and say where it is."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    receipts = (await client.get(f"/v1/projects/{project['id']}/generations")).json()["data"]
    console.print("\n[bold]The files[/]")
    for receipt in reversed(receipts):
        for asset in receipt["outputs"]:
            path = folder / f"{receipt['operation']}.{EXTENSIONS[asset['content_type']]}"
            data = await _download(asset["url"])
            await asyncio.to_thread(path.write_bytes, data)
            seconds = f", {asset['duration_seconds']:g} s" if asset["duration_seconds"] else ""
            size = f"{asset['width']}x{asset['height']}, {len(data) / 1024:.0f} KiB{seconds}"
            console.print(f"  {path}\n    {asset['content_type']}, {size}\n    {asset['url']}")


async def _download(url: str) -> bytes:
    """Fetch a file as a browser would: its address may be a vendor's, which must not see the API key."""
    async with httpx.AsyncClient(timeout=60, follow_redirects=True) as browser:
        return (await browser.get(url)).raise_for_status().content


async def _show_ledger(client: httpx.AsyncClient) -> None:
    entries = (await client.get("/v1/credits/entries", params={"limit": 100})).json()["data"]
    table = Table("time (UTC)", "kind", "for", title="The ledger", title_justify="left")
    table.add_column("amount", justify="right")
    table.add_column("balance", justify="right")
    for entry in reversed(entries):
        cause = f"generation …{entry['generation_id'][-6:]}" if entry["generation_id"] else "sign-up"
        time = datetime.fromisoformat(entry["created_at"]).strftime("%H:%M:%S")
        table.add_row(time, entry["kind"], cause, f"{entry['amount']:+d}", str(entry["balance_after"]))
    console.print()
    console.print(table)
    available = (await client.get("/v1/credits")).json()["available"]
    console.print(f"Available now: {available} credits.")
