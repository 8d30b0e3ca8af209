"""Every route, every stranger. The routes come from the app's own contract, so that a new one can't be forgotten."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tallyframe.accounts.keys import new_api_key
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.quick import make_all
from tests.support.remains import World, problem
from tests.support.working import Bench

#: What may be seen without signing in.
PUBLIC = {"/v1/explore", "/v1/pricing", "/v1/operations"}
#: What is signed by its sender, and not there unless that is set up.
SIGNED = {"/v1/webhooks/{source}"}
#: Bodies for operations that can't do without one.
BODIES: dict[str, Any] = {"/v1/projects": {"kind": "image", "prompt": "a cup"}, "/v1/quotes": {"kind": "image"}}
UUID = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")
DELETE_LAST = ("get", "post", "patch", "put", "delete")

Operation = tuple[str, str]


@pytest.fixture
async def operations(anybody: httpx.AsyncClient) -> list[Operation]:
    """Every (method, path) under /v1, what changes most last."""
    paths = (await anybody.get("/openapi.json")).json()["paths"]
    found = [(method, path) for path, methods in paths.items() if path.startswith("/v1/") for method in methods]
    return sorted(found, key=lambda operation: DELETE_LAST.index(operation[0]))


async def ask(client: httpx.AsyncClient, method: str, path: str, **headers: str) -> httpx.Response:
    body = {} if method in {"get", "delete"} else {"json": BODIES.get(path, {})}
    return await client.request(method.upper(), path, headers=headers, **body)


def filled(path: str, ids: dict[str, str]) -> str:
    """Put ids into a route's path; a parameter that isn't known here fails the test, so that it gets added."""
    return path.format(**ids)


async def draft_of(member: Member, bench: Bench) -> dict[str, Any]:
    project = await member.order("alice's secret cup")
    await make_all(bench)
    return await member.project(project["id"])


async def test_other_peoples_things_are_not_there(
    alice: Member, bob: Member, bench: Bench, operations: list[Operation], world: World
) -> None:
    project = await draft_of(alice, bench)
    key = (await alice.http.post("/v1/api-keys", json={"name": "spare"})).json()
    upload = (await alice.http.post("/v1/assets", files={"file": picture()})).json()
    hers = {"project_id": project["id"], "generation_id": project["generation"]["id"], "key_id": key["id"]}
    hers["asset_id"] = upload["id"]
    nobodys = {name: str(uuid4()) for name in hers}
    elsewhere = ("/v1/admin/", *SIGNED)
    with_ids = [(method, path) for method, path in operations if "{" in path and not path.startswith(elsewhere)]
    assert len(with_ids) >= 10
    before = await world.remains()

    for method, path in with_ids:
        case = f"bob: {method} {path}"
        refused = problem(await ask(bob.http, method, filled(path, hers)), 404, "not_found", case)
        missing = problem(await ask(bob.http, method, filled(path, nobodys)), 404, "not_found", case)
        refused.pop("request_id"), missing.pop("request_id")
        assert refused == missing, f"{case}: others' things are told from what isn't there"

    assert await world.remains() == before
    assert await alice.project(project["id"]) == project
    assert (await alice.http.get(project["image_url"])).status_code == 200
    # The owner gets through on every one of them, so what bob met was not a typing error of this test.
    for method, path in with_ids:
        answer = await ask(alice.http, method, filled(path, hers))
        assert answer.status_code in {200, 202, 204, 409}, f"alice: {method} {path}: {answer.text}"


async def test_other_peoples_pictures_cannot_be_used(alice: Member, bob: Member, bench: Bench, world: World) -> None:
    kept = (await alice.http.post("/v1/assets", files={"file": picture()})).json()
    form = {"kind": "image", "prompt": "a cup"}
    ordered = (await alice.http.post("/v1/projects", data=form, files={"images": picture()})).json()
    await make_all(bench)
    output = (await alice.project(ordered["id"]))["generation"]["outputs"][0]
    own = (await bob.http.post("/v1/assets", files={"file": picture()})).json()
    before = await world.remains()

    for asset in (kept, ordered["images"][0], output):
        for kind in ("image", "video"):
            images = [{"asset_id": asset["id"]}]
            order = {"kind": kind, "prompt": "a cup", "images": images}
            problem(await bob.http.post("/v1/projects", json=order), 404, "not_found", asset["url"])
        mixed = {**order, "kind": "image", "images": [{"asset_id": own["id"]}, *images]}
        problem(await bob.http.post("/v1/projects", json=mixed), 404, "not_found", asset["url"])
        unknown = {**order, "images": [{"asset_id": str(uuid4())}]}
        problem(await bob.http.post("/v1/projects", json=unknown), 404, "not_found", "nobody's")

    assert await world.remains() == before
    assert await bob.available() == 20
    assert (await alice.order(images=[{"asset_id": kept["id"]}]))["images"][0]["id"] == kept["id"]


async def test_nothing_works_without_a_valid_credential(
    alice: Member, anybody: httpx.AsyncClient, operations: list[Operation], world: World
) -> None:
    project = await alice.order()
    made = (await alice.http.post("/v1/api-keys", json={"name": "lost"})).json()
    assert (await anybody.get("/v1/me", headers={"Authorization": f"Bearer {made['secret']}"})).status_code == 200
    assert (await alice.http.delete(f"/v1/api-keys/{made['id']}")).status_code == 204
    wrong = alice.key[:-1] + ("a" if alice.key[-1] != "a" else "b")
    token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImEifQ.eyJzdWIiOiJ1c2VyXzEifQ.c2lnbmF0dXJl"
    credentials = {
        "none": {},
        "no scheme": {"Authorization": alice.key},
        "another scheme": {"Authorization": f"Basic {alice.key}"},
        "empty": {"Authorization": "Bearer "},
        "garbage": {"Authorization": "Bearer garbage"},
        "wrong check sum": {"Authorization": f"Bearer {wrong}"},
        "never given out": {"Authorization": f"Bearer {new_api_key()}"},
        "revoked": {"Authorization": f"Bearer {made['secret']}"},
        "a token, without an issuer": {"Authorization": f"Bearer {token}"},
        "a database's wildcard": {"Authorization": "Bearer tf_%"},
    }
    ids = {"project_id": project["id"], "generation_id": project["generation"]["id"], "key_id": made["id"]}
    ids |= {"user_id": str(alice.user.id), "webhook_id": str(uuid4()), "asset_id": str(uuid4())}
    before = await world.remains()
    asked = 0
    for method, path in operations:
        if path in PUBLIC:
            assert (await ask(anybody, method, path)).status_code == 200
            continue
        if path in SIGNED:
            problem(await ask(alice.http, method, filled(path, {"source": "clerk"})), 404, "not_found", path)
            continue
        for name, headers in credentials.items():
            answer = await ask(anybody, method, filled(path, ids), **headers)
            body = problem(answer, 401, "unauthenticated", f"{name}: {method} {path}")
            assert answer.headers["www-authenticate"].startswith("Bearer")
            assert made["secret"] not in body["detail"]
            asked += 1
    assert asked >= 14 * len(credentials)
    assert await world.remains() == before


def lists(operations: list[Operation]) -> Iterator[str]:
    return (path for method, path in operations if method == "get" and "{" not in path and path not in PUBLIC)


async def test_lists_hold_only_ones_own(alice: Member, bob: Member, bench: Bench, operations: list[Operation]) -> None:
    for member in (alice, bob):
        await draft_of(member, bench)
        await member.http.post("/v1/assets", files={"file": picture()})
    seen = 0
    for path in lists(operations):
        hers = set(UUID.findall((await alice.http.get(path)).text))
        his = set(UUID.findall((await bob.http.get(path)).text))
        assert not hers & his, path
        seen += bool(hers and his)
    assert seen >= 4  # projects, entries, keys, me
    # A cursor of hers opens nothing of hers to him.
    await alice.order()
    page = (await alice.http.get("/v1/projects?limit=1")).json()
    his_page = (await bob.http.get(f"/v1/projects?cursor={page['next_cursor']}")).json()
    mine = {project["id"] for project in (await bob.http.get("/v1/projects")).json()["data"]}
    assert {project["id"] for project in his_page["data"]} <= mine
