"""Orders of any operation, as a client places and follows them."""

import asyncio
from typing import Any
from uuid import UUID

import httpx

from tests.support.cast import Member


async def buy(member: Member, operation: str, project_id: str | None = None, **given: Any) -> dict[str, Any]:
    """Order it, which must be accepted; return the generation."""
    return accepted(await ask_for(member, operation, project_id, **given))


async def ask_for(member: Member, operation: str, project_id: str | None = None, **given: Any) -> httpx.Response:
    body = {"operation": operation, "input": given, **({"project_id": project_id} if project_id else {})}
    return await member.http.post("/v1/generations", json=body)


def accepted(answer: httpx.Response) -> dict[str, Any]:
    assert answer.status_code == 202, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def receipt(member: Member, generation: dict[str, Any] | UUID) -> dict[str, Any]:
    """The generation as it is now."""
    id_ = generation if isinstance(generation, UUID) else generation["id"]
    answer = await member.http.get(f"/v1/generations/{id_}")
    assert answer.status_code == 200, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def until_ended(member: Member, generation: dict[str, Any], seconds: float = 60) -> dict[str, Any]:
    """Follow it to its end."""
    async with asyncio.timeout(seconds):
        while (made := await receipt(member, generation))["finished_at"] is None:
            await asyncio.sleep(0.05)
    return made


def places(made: dict[str, Any]) -> list[tuple[str, int]]:
    """The role and the position of each output."""
    return [(output["role"], output["position"]) for output in made["outputs"]]
