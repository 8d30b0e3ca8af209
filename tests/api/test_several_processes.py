"""`tallyframe api --workers N`: it says where it listens and looks, and all of its processes end together."""

import asyncio
import signal
from time import monotonic

import httpx
import psutil

from tests.support.processes import PATIENCE, Processes, free_port


async def test_a_killed_parent_leaves_no_process_behind(processes: Processes) -> None:
    port = free_port()
    parent = processes.start("api", "--port", str(port), "--workers", "2", TALLYFRAME_LOG_LEVEL="info")
    url, until = f"http://127.0.0.1:{port}", monotonic() + PATIENCE
    async with httpx.AsyncClient() as client:
        while not (children := serving(parent.popen.pid)) or not await answers(client, url):
            assert monotonic() < until, parent.text
            assert parent.popen.poll() is None, parent.text
            await asyncio.sleep(0.05)
    assert '"event": "api_starting"' in parent.text
    for place in (f'"address": "{url}"', '"processes": 2', '"postgres": "127.0.0.1:', '"redis": "127.0.0.1:'):
        assert place in parent.text
    parent.send(signal.SIGKILL)
    await parent.wait()
    _, left = await asyncio.to_thread(psutil.wait_procs, children, PATIENCE)
    for process in left:
        process.kill()
    assert left == []


def serving(pid: int) -> list[psutil.Process]:
    """The processes that serve: none of their number is missing."""
    children = [each for each in psutil.Process(pid).children() if "spawn_main" in " ".join(each.cmdline())]
    return children if len(children) == 2 else []


async def answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/healthz")).status_code == 200
    except httpx.TransportError:
        return False
