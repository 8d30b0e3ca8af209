"""A client that doesn't give up: it sends each order, with a key, until it is told what became of it."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.support.cast import Member

ORDER = {"kind": "image", "prompt": "[fail:content_policy] a cup"}


async def until(condition: Callable[[], Awaitable[Any]], seconds: float = 90) -> None:
    async with asyncio.timeout(seconds):
        while not await condition():
            await asyncio.sleep(0.02)


@dataclass
class Writer:
    """Sends each order under a key of its own until it is told what became of it."""

    http: httpx.AsyncClient
    told: dict[str, tuple[str, str]] = field(default_factory=dict)  # key → ids of project and generation
    broken: int = 0

    async def send(self, key: str) -> httpx.Response | None:
        """One try; None when no answer came."""
        try:
            return await self.http.post("/v1/projects", json=ORDER, headers={"Idempotency-Key": key})
        except httpx.TransportError:
            self.broken += 1
            return None

    async def order(self, key: str) -> None:
        async with asyncio.timeout(90):
            while key not in self.told:
                answer = await self.send(key)
                if answer is not None and answer.status_code == 202:
                    project = answer.json()
                    self.told[key] = (project["id"], project["generation"]["id"])
                elif answer is not None:
                    assert answer.status_code == 503, answer.text
                    assert int(answer.headers["retry-after"]) > 0
                    await asyncio.sleep(0.05)

    async def order_all(self, keys: list[str], clients: int) -> None:
        waiting = iter(keys)

        async def client() -> None:
            for key in waiting:
                await self.order(key)

        await asyncio.gather(*(client() for _ in range(clients)))


@asynccontextmanager
async def writer(member: Member, url: str, seconds: float = 3) -> AsyncIterator[Writer]:
    headers = {"Authorization": f"Bearer {member.key}"}
    limits = httpx.Limits(max_connections=100)
    async with httpx.AsyncClient(base_url=url, headers=headers, timeout=seconds, limits=limits) as http:
        yield Writer(http)
