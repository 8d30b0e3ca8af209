"""A new operation is one file and one line, a new provider one folder and one line: real processes do all the rest."""

from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tallyframe.db import Database
from tallyframe.settings import Settings
from tests.operations.acme_server import KEY, AcmeServer, acme_server
from tests.operations.buying import accepted, ask_for, buy, places, until_ended
from tests.operations.tree import InTree, Tree
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.remains import World, problem
from tests.support.vendor import answer

ENVIRONMENT = {"ACME_API_KEY": KEY, "TALLYFRAME_PROVIDER_POLL": "0.1"}


@pytest.fixture
async def acme() -> AsyncIterator[AcmeServer]:
    async with acme_server() as running:
        yield running


@pytest.fixture
def tree(tmp_path: Path, acme: AcmeServer) -> Tree:
    made = Tree.copied(tmp_path / "tree")
    made.drop_in_operation("poster")
    assert acme.server
    made.drop_in_acme(acme.server.url)
    return made


@pytest.fixture
async def processes(settings: Settings, tree: Tree) -> AsyncIterator[InTree]:
    started = InTree(settings, tree=tree)
    yield started
    await started.end_all()


At = Callable[[str], Member]


@pytest.fixture
async def at(alice: Member) -> AsyncIterator[At]:
    """Alice as a client of the API at this address."""
    made: list[httpx.AsyncClient] = []

    def client(url: str) -> Member:
        headers = {"Authorization": f"Bearer {alice.key}"}
        made.append(httpx.AsyncClient(base_url=url, headers=headers, timeout=30))
        return Member(alice.user, alice.key, made[-1])

    yield client
    for http in made:
        await http.aclose()


def test_that_is_all(tree: Tree) -> None:
    added = tree.changed()
    assert (added.pop("catalog.py"), added.pop("operations/registry.py")) == (1, 2)
    assert set(added) == {"operations/poster.py", "providers/acme/__init__.py", "providers/acme/writer.py"}


async def test_it_is_listed_with_its_price_and_its_form(processes: InTree, at: At) -> None:
    for environment, price in (({}, 7), ({"TALLYFRAME_PRICES": '{"poster": 9}'}, 9)):
        _, url = await processes.api(**ENVIRONMENT, **environment)
        member = at(url)
        listed = {each["name"]: each for each in (await member.http.get("/v1/operations")).json()["data"]}
        assert set(listed) == {"image", "video", "poster"}
        poster = listed["poster"]
        assert (poster["credits"], poster["description"]) == (price, "A poster with a front, a back and a caption.")
        assert set(poster["input_schema"]["properties"]) == {"prompt", "style", "tags", "logo", "images"}
        assert poster["input_schema"]["required"] == ["prompt"]
        assert "9:16" in poster["offers"]["aspect_ratios"]
        assert poster["offers"]["max_images"] == 3
        prices = (await member.http.get("/v1/pricing")).json()["data"]
        assert {"operation": "poster", "credits": price} in prices


async def test_it_is_bought_run_and_shown(
    processes: InTree, acme: AcmeServer, at: At, db: Database, owner: Any, settings: Settings
) -> None:
    _, url = await processes.api(**ENVIRONMENT)
    await processes.worker(**ENVIRONMENT)
    member, world = at(url), World(owner, settings)
    upload = await member.http.post("/v1/assets", files={"file": ("a.png", picture(), "image/png")})
    asset = {"asset_id": upload.json()["id"]}

    key = {"Idempotency-Key": str(uuid4())}
    body: dict[str, Any] = {
        "operation": "poster",
        "input": {"prompt": "a fair", "style": "calm", "logo": asset, "images": [asset]},
    }
    first = await member.http.post("/v1/generations", json=body, headers=key)
    again = await member.http.post("/v1/generations", json=body, headers=key)
    assert accepted(again)["id"] == accepted(first)["id"]
    assert again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["Location"] == f"/v1/generations/{first.json()['id']}"
    assert first.json()["project_id"] is None
    other = {**body, "input": {**body["input"], "style": "loud"}}
    problem(await member.http.post("/v1/generations", json=other, headers=key), 422, "idempotency_key_reused")

    made = await until_ended(member, first.json())
    assert (made["status"], made["error"], made["attempt"]) == ("succeeded", None, 1)
    assert made["credits"] == {"quoted": 7, "charged": 7, "refunded": 0}
    assert places(made) == [("poster", 0), ("poster", 1)]
    assert made["output"]["style"] == "calm"
    assert made["output"]["headline"].startswith("Acme about Acme about a fair")
    files = [path for path in world.files() if path.startswith("generations/")]
    assert len(files) == 2
    assert acme.orders[0]["prompt"] == "a fair"
    assert set(acme.bought.values()) == {1}

    before = await world.remains()
    wrong = await ask_for(member, "poster", prompt="a fair", style="odd", images=[asset, {"asset_id": "x"}])
    assert problem(wrong, 422, "validation_failed")["errors"][0]["pointer"] == "/input/images/1/asset_id"
    problem(await ask_for(member, "nothing", prompt="a fair"), 422, "validation_failed")
    assert await world.remains() == before
    assert await member.available() == 13

    project = await member.order("a cup", kind="poster", images=[asset])
    assert (project["kind"], project["aspect_ratio"], project["media"]) == ("poster", None, [])
    await until_ended(member, project["generation"])
    shown = await member.project(project["id"])
    assert (shown["status"], shown["image_url"], shown["video_url"]) == ("draft", None, None)
    assert [(each["role"], each["position"], each["version"]) for each in shown["media"]] == [
        ("poster", 0, 1),
        ("poster", 1, 1),
    ]
    poor = problem(await ask_for(member, "poster", project["id"], prompt="more"), 402, "insufficient_credits")
    assert (poor["required"], poor["available"]) == (7, 6)

    page = (await member.http.get("/v1/generations", params={"operation": "poster", "limit": 1})).json()
    assert [each["id"] for each in page["data"]] == [project["generation"]["id"]]
    rest = await member.http.get("/v1/generations", params={"cursor": page["next_cursor"], "status": "succeeded"})
    assert [each["id"] for each in rest.json()["data"]] == [made["id"]]
    assert (await member.http.get("/v1/generations", params={"operation": "image"})).json()["data"] == []
    calls = await owner.fetch("SELECT step, provider, kind, status, output_tokens FROM ai_operations")
    assert {(call["step"], call["provider"]) for call in calls} == {
        *((step, "acme") for step in ("plan", "caption")),
        *((side, "offline") for side in ("front", "back")),
    }
    assert {call["output_tokens"] for call in calls if call["provider"] == "acme"} == {12}
    assert await assert_books_balance(db, owner) == {"succeeded": 2}


async def test_it_is_tried_again_and_refunded(
    processes: InTree, acme: AcmeServer, at: At, db: Database, owner: Any
) -> None:
    _, url = await processes.api(**ENVIRONMENT)
    worker = await processes.worker(**ENVIRONMENT)
    member = at(url)
    acme.instead.extend([answer({}, 503), answer({"text": "no JSON"})])
    made = await until_ended(member, await buy(member, "poster", prompt="a fair"))
    assert (made["status"], made["attempt"]) == ("succeeded", 3)
    assert set(acme.bought.values()) == {1}

    refused = await until_ended(member, await buy(member, "poster", prompt="what is forbidden"))
    assert (refused["status"], refused["error"]["code"], refused["error"]["fault"]) == (
        "failed",
        "content_policy",
        "user",
    )
    failed = await until_ended(member, await buy(member, "poster", prompt="[fail:provider_quota] a fair"))
    assert (failed["status"], failed["error"]["code"]) == ("failed", "provider_quota")
    assert failed["credits"] == {"quoted": 7, "charged": 7, "refunded": 7}
    assert (failed["outputs"], failed["output"]) == ([], None)
    assert await member.available() == 13

    admin = {"reason": "let us see"}
    assert (await member.http.post(f"/v1/admin/generations/{failed['id']}/retry", json=admin)).status_code == 403
    await owner.execute("UPDATE users SET role = 'admin' WHERE id = $1", UUID(str(member.user.id)))
    _, url = await processes.api(**ENVIRONMENT)
    retried = await at(url).http.post(f"/v1/admin/generations/{failed['id']}/retry", json=admin)
    assert retried.status_code == 202, retried.text
    again = await until_ended(member, {"id": retried.json()["id"]})
    assert again["error"]["code"] == "provider_quota"
    assert await assert_books_balance(db, owner) == {"succeeded": 1, "failed": 3}
    assert KEY not in worker.text
    assert "a fair" not in worker.text
