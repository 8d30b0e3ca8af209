"""A member of the cast: a user with an API key and a client that uses it."""

from dataclasses import dataclass
from typing import Any

import httpx

from tallyframe.accounts.users import User


@dataclass(frozen=True)
class Member:
    user: User
    key: str
    http: httpx.AsyncClient

    async def order(self, prompt: str = "a cup", *, kind: str = "image", **more: Any) -> dict[str, Any]:
        """Place an order that must be accepted."""
        answer = await self.http.post("/v1/projects", json={"kind": kind, "prompt": prompt, **more})
        assert answer.status_code == 202, answer.text
        project: dict[str, Any] = answer.json()
        return project

    async def project(self, project_id: str) -> dict[str, Any]:
        answer = await self.http.get(f"/v1/projects/{project_id}")
        assert answer.status_code == 200, answer.text
        project: dict[str, Any] = answer.json()
        return project

    async def available(self) -> int:
        figures = (await self.http.get("/v1/credits")).json()
        return int(figures["available"])

    async def entries(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = (await self.http.get("/v1/credits/entries?limit=100")).json()["data"]
        return found
