"""Every route of administrators, from the app's own contract: for nobody else, and nothing is done without a reason."""

from typing import Any

import httpx
import pytest

from tests.admin.conftest import WHY, Acts
from tests.support.cast import Member
from tests.support.remains import World, problem
from tests.support.shared import shared_database
from tests.support.telling import waiting_event

database_url = shared_database("test_admin_refusals")

Route = tuple[str, str]

#: What each act needs besides a reason.
MORE: dict[str, dict[str, Any]] = {
    "/v1/admin/users/{user_id}/delete": {},
    "/v1/admin/users/{user_id}/credits": {"amount": 5},
    "/v1/admin/generations/{generation_id}/cancel": {},
    "/v1/admin/generations/{generation_id}/retry": {},
    "/v1/admin/generations/{generation_id}/resolve": {"outcome": "refunded"},
    "/v1/admin/webhooks/{webhook_id}/replay": {},
    "/v1/admin/webhooks/{webhook_id}/dismiss": {},
}
REASONS: list[tuple[dict[str, Any], str]] = [
    ({}, "/reason"),
    ({"reason": ""}, "/reason"),
    ({"reason": " \n\t "}, "/reason"),
    ({"reason": None}, "/reason"),
    ({"reason": 5}, "/reason"),
    ({"reason": ["a"]}, "/reason"),
    ({"reason": "r" * 501}, "/reason"),
    ({"reason": "a\x00b"}, "/reason"),
    ({"reason": WHY, "more": 1}, "/more"),
]


@pytest.fixture
async def routes(anybody: httpx.AsyncClient) -> list[Route]:
    paths = (await anybody.get("/openapi.json")).json()["paths"]
    found = [(method, path) for path, how in paths.items() if path.startswith("/v1/admin/") for method in how]
    assert len(found) >= 9
    return found


@pytest.fixture
async def ids(alice: Member, owner: Any) -> dict[str, str]:
    """Something of alice's, and somebody's, that could be acted upon."""
    project = await alice.order()
    ids = {"user_id": str(alice.user.id), "generation_id": project["generation"]["id"]}
    return {**ids, "webhook_id": str(await waiting_event(owner))}


async def ask(client: httpx.AsyncClient, route: Route, ids: dict[str, str], **more: Any) -> httpx.Response:
    method, path = route
    body = {"reason": WHY, **MORE.get(path, {}), **more} if method == "post" else None
    return await client.request(method.upper(), path.format(**ids), json=body)


async def lines(owner: Any) -> int:
    count: int = await owner.fetchval("SELECT count(*) FROM admin_log")
    return count


async def test_for_administrators_only(
    routes: list[Route], ids: dict[str, str], alice: Member, anybody: httpx.AsyncClient, world: World, owner: Any
) -> None:
    before = await world.remains(), await lines(owner)
    for route in routes:
        problem(await ask(alice.http, route, ids), 403, "forbidden", route)
        problem(await ask(alice.http, route, ids, reason=""), 403, "forbidden", route)
        problem(await ask(anybody, route, ids), 401, "unauthenticated", route)
        method, path = route
        nonsense = path.format(user_id="1", generation_id="1", webhook_id="1")
        problem(await alice.http.request(method.upper(), nonsense), 403, "forbidden", route)
    assert (await world.remains(), await lines(owner)) == before


async def test_nothing_is_done_without_a_reason(
    routes: list[Route], ids: dict[str, str], acts: Acts, world: World, owner: Any
) -> None:
    done = [(method, path) for method, path in routes if method != "get"]
    assert {path for _, path in done} == set(MORE), "a new act: say what it needs"
    before = await world.remains(), await lines(owner)
    for _, path in done:
        for body, pointer in REASONS:
            answer = await acts.admin.http.post(path.format(**ids), json={**MORE[path], **body})
            said = problem(answer, 422, "validation_failed", f"{path} {body}")
            assert [error["pointer"] for error in said["errors"]] == [pointer], path
        for content in (b"", b"[]", b"{", b"null", b'"reason"'):
            answer = await acts.admin.http.post(
                path.format(**ids), content=content, headers={"Content-Type": "application/json"}
            )
            problem(answer, 422, "validation_failed", f"{path} {content!r}")
    assert (await world.remains(), await lines(owner)) == before


async def test_a_reason_of_any_script_up_to_its_limit(ids: dict[str, str], acts: Acts, alice: Member) -> None:
    for reason in ("r", "r" * 500, "日本語 🎞 \u202e", "'; DROP TABLE admin_log; --"):
        answer = await acts.do(f"users/{ids['user_id']}/credits", amount=1, reason=reason)
        assert answer.json()["reason"] == reason.strip()
    assert [line["reason"] for line in await acts.lines(alice)][-1] == "'; DROP TABLE admin_log; --"


async def test_an_outcome_is_one_of_two(ids: dict[str, str], acts: Acts) -> None:
    for outcome in ("", "billed", None, 1):
        answer = await acts.do(f"generations/{ids['generation_id']}/resolve", outcome=outcome)
        assert [each["pointer"] for each in problem(answer, 422, "validation_failed")["errors"]] == ["/outcome"]


async def test_an_id_must_be_one(routes: list[Route], acts: Acts) -> None:
    for route in routes:
        if "{" in route[1]:
            nonsense = {"user_id": "1", "generation_id": "1", "webhook_id": "1"}
            said = problem(await ask(acts.admin.http, route, nonsense), 422, "validation_failed", route)
            assert said["errors"][0]["pointer"] in {"/user_id", "/generation_id", "/webhook_id"}
