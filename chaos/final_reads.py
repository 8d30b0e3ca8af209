"""Reads the API at the end, as owners, as strangers and without sign-in."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress

import httpx

from chaos.evidence import Evidence, Row
from chaos.keys import marker_of
from chaos.vendor import marked

_AT_ONCE = 8  # requests
_TRIES = 4
_MOST = 300  # projects of a kind that are read
_SERVER_ERROR = 500


async def prices(http: httpx.AsyncClient) -> dict[str, int]:
    """Return the price of each operation; nothing if there is no answer."""
    response = await _get(http, "/v1/pricing")
    return {row["operation"]: row["credits"] for row in response.json()["data"]} if response.is_success else {}


async def media(http: httpx.AsyncClient, evidence: Evidence) -> list[Row]:
    """Fetch what each succeeded generation has made, as its owner, unless it or its project is deleted."""
    keys, deleted = _keys(evidence), evidence.deleted
    succeeded = [row for row in evidence.generations if row["status"] == "succeeded"]
    made = [row for row in succeeded if deleted.isdisjoint({row["id"], row["project_id"]})]

    async def fetch(row: Row) -> Row:
        return {
            "generation_id": row["id"],
            "operation": row["operation"],
            **await _fetch(http, row, keys.get(row["user_id"], "")),
        }

    return await _all(fetch, made)


async def reads(http: httpx.AsyncClient, evidence: Evidence) -> list[Row]:
    """Read projects as their owners (deleted ones, too) and as strangers, all credits, and Explore.

    A row: `what` was read, its `id`, the `status` of HTTP (0: no answer), and what the answer `said`.
    """
    kept = [row for row in evidence.projects if not row["is_deleted"]][:_MOST]
    gone = [row for row in evidence.projects if row["is_deleted"]][:_MOST]
    keys = _keys(evidence)

    async def owner(row: Row) -> Row:
        return await _read(http, "project", row["id"], keys.get(row["user_id"], ""))

    async def stranger(row: Row) -> Row:
        other = next((key for user, key in keys.items() if user != row["user_id"]), "")
        return await _read(http, "stranger", row["id"], other)

    credit = [await _read(http, "credits", user.account_id, user.key) for user in evidence.users]
    return [*await _all(owner, kept + gone), *await _all(stranger, kept), *credit, await _explore(http)]


async def _read(http: httpx.AsyncClient, what: str, about: str, key: str) -> Row:
    response = await _get(http, "/v1/credits" if what == "credits" else f"/v1/projects/{about}", key)
    said = response.json() if response.is_success else {}
    generation = said.get("generation") or {}
    told = {name: said[name] for name in ("status", "status_sequence", "available") if name in said}
    latest = {f"generation_{name}": generation[name] for name in ("id", "status") if name in generation}
    return {"what": what, "id": about, "status": response.status_code, "said": told | latest}


async def _explore(http: httpx.AsyncClient) -> Row:
    """Read all pages of Explore, without sign-in."""
    ids, cursor, status = list[str](), "", 200
    while cursor is not None:
        response = await _get(http, f"/v1/explore?limit=100{f'&cursor={cursor}' if cursor else ''}")
        page = response.json() if response.is_success else {"data": [], "next_cursor": None}
        status = response.status_code
        ids += [row["id"] for row in page["data"]]
        cursor = page["next_cursor"]
    return {"what": "explore", "id": "", "status": status, "said": {"ids": ids}}


async def _fetch(http: httpx.AsyncClient, row: Row, key: str) -> Row:
    """Return what was made (outputs by role and position, data), and whether it is whole and of this very order."""
    try:
        said = (await _get(http, f"/v1/generations/{row['id']}", key)).raise_for_status().json()
        outputs, data = said["outputs"], said["output"]
        files = [(await _get(http, output["url"], key)).raise_for_status().content for output in outputs]
    except (httpx.HTTPError, ValueError, KeyError) as error:
        return {"problem": f"{type(error).__name__}: {error}"}
    is_whole = all(
        hashlib.sha256(file).hexdigest() == output["sha256"] for file, output in zip(files, outputs, strict=True)
    )
    marker = marked(marker_of(row["prompt"]))
    told = [str(words).encode() for words in (data or {}).values()]
    made = sorted(f"{output['role']} {output['position']}" for output in outputs) + (["data"] if data else [])
    is_its_own = all(marker.encode() in one for one in (*files, *told))
    return {"problem": "", "made": ", ".join(made), "is_whole": is_whole, "is_its_own": is_its_own}


async def _get(http: httpx.AsyncClient, url: str, key: str = "") -> httpx.Response:
    """Send a GET, and send it again after a 5xx or no answer: a process may only now notice its dead connections.

    Status 0 stands for no answer.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    response = httpx.Response(0, request=httpx.Request("GET", http.base_url))
    for _ in range(_TRIES):
        with suppress(httpx.TransportError):
            response = await http.get(url, headers=headers)
            if response.status_code < _SERVER_ERROR:
                break
    return response


async def _all(ask: Callable[[Row], Awaitable[Row]], rows: Sequence[Row]) -> list[Row]:
    """Ask about each row, _AT_ONCE at a time."""
    turns = asyncio.Semaphore(_AT_ONCE)

    async def one(row: Row) -> Row:
        async with turns:
            return await ask(row)

    return list(await asyncio.gather(*(one(row) for row in rows)))


def _keys(evidence: Evidence) -> dict[str, str]:
    return {user.user_id: user.key for user in evidence.users}
