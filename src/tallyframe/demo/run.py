"""The demo: buys one image and one video as any client would, and shows the files and the ledger."""

import asyncio
from datetime import datetime
from pathlib import Path
from time import monotonic
from typing import Any

import httpx
from rich.console import Console
from rich.table import Table

from tallyframe.demo.stack import new_user, running_stack
from tallyframe.embedded.errors import EmbeddedError
from tallyframe.storages.base import EXTENSIONS

SAMPLES = Path(__file__).parent / "samples"
PHOTOS = ("person.jpg", "product.jpg")
IMAGE_PROMPT = "A cheerful host shows her favourite cup of coffee to the camera, morning light"
VIDEO_PROMPT = "The camera glides slowly over the scene"
VIDEO_SECONDS = 4
DONE_WITHIN = 900.0  # seconds; a real vendor takes minutes for a film

#: A generation's steps in their order, and the demo's words for them.
STEPS = {"queued": "queued", "generating": "generating", "storing": "storing", "completed": "done"}

console = Console(highlight=False, soft_wrap=True)


async def run_demo(data_dir: Path) -> None:
    """Run the demo with its data in `data_dir`. Raises EmbeddedError if it can't."""
    data_dir = await asyncio.to_thread(data_dir.absolute)
    started = monotonic()
    async with running_stack(data_dir, console) as stack:
        console.print(f"Postgres, Valkey, API and worker are up after {monotonic() - started:.1f} s: {stack['url']}")
        user = await new_user(data_dir, console)
        headers = {"Authorization": f"Bearer {user['api_key']}"}
        async with httpx.AsyncClient(base_url=stack["url"], headers=headers, timeout=30) as client:
            console.print(f"\n[bold]One image from two photos[/]: {' and '.join(PHOTOS)}, 9:16")
            order: dict[str, Any] = {"kind": "image", "prompt": IMAGE_PROMPT, "aspect_ratio": "9:16"}
            photos = [
                ("images", (name, await asyncio.to_thread((SAMPLES / name).read_bytes), "image/jpeg"))
                for name in PHOTOS
            ]
            project = await _watch(client, await client.post("/v1/projects", data=order, files=photos))

            console.print(f"\n[bold]One video from that image[/]: {VIDEO_SECONDS} s, 9:16")
            order = {"prompt": VIDEO_PROMPT, "duration_seconds": VIDEO_SECONDS}
            project = await _watch(client, await client.post(f"/v1/projects/{project['id']}/video", json=order))

            await _show_files(client, project, data_dir / "output")
            await _show_ledger(client)
    console.print("\nStopped again. `make run` keeps it running and prints an API key; the docs are at /docs then.")


async def _watch(client: httpx.AsyncClient, accepted: httpx.Response) -> dict[str, Any]:
    """Print each step when it is seen, with the time since the order; return the finished project."""
    started, shown = monotonic(), 0
    project: dict[str, Any] = accepted.json()
    if accepted.status_code != httpx.codes.ACCEPTED:
        raise EmbeddedError(f"The order was refused: {project.get('detail')}")
    async with asyncio.timeout(DONE_WITHIN):
        while project["is_generating"]:
            shown = _show_steps(shown, project["generation"]["step"], started)
            await asyncio.sleep(0.01)  # far more often than a client should, to show the time of each step
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
    """Download the files that were made, and print where they are."""
    await asyncio.to_thread(folder.mkdir, exist_ok=True)
    receipts = (await client.get(f"/v1/projects/{project['id']}/generations")).json()["data"]
    console.print("\n[bold]The files[/]")
    for receipt in reversed(receipts):
        for asset in receipt["outputs"]:
            path = folder / f"{receipt['operation']}.{EXTENSIONS[asset['content_type']]}"
            # Without the API key: the address may be a vendor's.
            async with httpx.AsyncClient(timeout=60, follow_redirects=True) as browser:
                data = (await browser.get(asset["url"])).raise_for_status().content
            await asyncio.to_thread(path.write_bytes, data)
            seconds = f", {asset['duration_seconds']:g} s" if asset["duration_seconds"] else ""
            size = f"{asset['width']}x{asset['height']}, {len(data) / 1024:.0f} KiB{seconds}"
            console.print(f"  {path}\n    {asset['content_type']}, {size}\n    {asset['url']}")


async def _show_ledger(client: httpx.AsyncClient) -> None:
    """Print the user's ledger, oldest entry first, and the balance."""
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
