"""Pictures of an order, wherever its fields hold them: taken, checked, used, and erased when the order is."""

from dataclasses import replace
from typing import Any
from uuid import UUID, uuid4

import pytest

from tallyframe.db import Database
from tests.conftest import ClientFor, enroll
from tests.operations.buying import ask_for, buy, places, receipt
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.drawn import GREEN, RED, picture
from tests.support.remains import World, problem
from tests.support.scripted import QUICKLY, Scripted, among, final
from tests.support.working import Bench

BLUE, GREY = (0, 0, 255), (128, 128, 128)
AT = {name: {"url": f"https://example.com/{name}.png"} for name in ("blue", "grey")}


@pytest.fixture(autouse=True)
def fetched(alice: Member) -> list[tuple[str, str]]:
    """What is fetched by URL, with the place at which it stands."""
    found: list[tuple[str, str]] = []

    async def fetch(user_id: UUID, url: str, pointer: str) -> bytes:
        found.append((url, pointer))
        return picture(BLUE if "blue" in url else GREY)

    app = alice.http._transport.app  # type: ignore[attr-defined]  # ASGITransport's
    app.state.services = replace(app.state.services, fetch=fetch)
    return found


async def uploaded(member: Member, colour: tuple[int, int, int]) -> dict[str, str]:
    answer = await member.http.post("/v1/assets", files={"file": ("a.png", picture(colour), "image/png")})
    return {"asset_id": answer.json()["id"]}


def scene(*shots: Any) -> dict[str, Any]:
    return {"words": "a cup", "shots": list(shots)}


async def test_they_are_taken_from_models_in_lists_and_models_in_models(
    alice: Member, bench: Bench, db: Database, owner: Any, fetched: list[tuple[str, str]]
) -> None:
    red, green = await uploaded(alice, RED), await uploaded(alice, GREEN)
    cover = {"face": red, "back": scene(AT["grey"])}
    made = await buy(alice, "album", scenes=[scene(), scene(green, AT["blue"]), scene(red)], cover=cover)
    assert fetched == [
        (AT["blue"]["url"], "/input/scenes/1/shots/1/url"),
        (AT["grey"]["url"], "/input/cover/back/shots/0/url"),
    ]
    vendor = Scripted("vendor")
    assert await bench.runner(providers=among(vendor)).run(UUID(made["id"])) == "succeeded"
    given = sorted([sorted(each.data for each in order) for order in vendor.given])
    # They are encoded anew on their way in, so they are compared by how many they are, and told apart below.
    assert sorted(map(len, given)) == [0, 1, 2, 2]
    assert len({data for order in given for data in order}) == 4
    assert places(await receipt(alice, made)) == [("cover", 0), ("page", 0), ("page", 1), ("page", 2)]
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


NOBODYS = {"asset_id": str(uuid4())}
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no picture in a model in a list": ({"scenes": [scene(), scene("a.png")]}, "/input/scenes/1/shots/0"),
    "no picture in a model in a model": (
        {"scenes": [scene()], "cover": {"back": scene(AT["blue"], {"asset_id": "x"})}},
        "/input/cover/back/shots/1",
    ),
    "too many in a model in a list": ({"scenes": [scene(*[NOBODYS] * 3)]}, "/input/scenes/0/shots"),
    "too many models": ({"scenes": [scene(AT["blue"])] * 4}, "/input/scenes"),
    "a field that nobody knows": ({"scenes": [{**scene(AT["blue"]), "odd": 1}]}, "/input/scenes/0/odd"),
    "a model that is none": ({"scenes": [AT["blue"]], "cover": "x"}, "/input"),
}


@pytest.mark.parametrize("case", WRONG)
async def test_what_is_wrong_is_refused_with_its_place_before_anything_is_fetched(
    case: str, alice: Member, world: World, fetched: list[tuple[str, str]]
) -> None:
    given, pointer = WRONG[case]
    before = await world.remains()
    body = problem(await ask_for(alice, "album", **given), 422, "validation_failed", case)
    pointers = [error["pointer"] for error in body["errors"]]
    assert all(each.startswith(pointer) for each in pointers), pointers
    assert (await world.remains(), fetched) == (before, [])


async def test_somebody_elses_is_not_there_at_any_depth(alice: Member, bob: Member, world: World) -> None:
    theirs = await uploaded(bob, RED)
    before = await world.remains()
    for each in (theirs, NOBODYS):
        deep = {"scenes": [scene(AT["blue"])], "cover": {"back": scene(each)}}
        for given in ({"scenes": [scene(each)]}, deep):
            problem(await ask_for(alice, "album", **given), 404, "not_found")
    assert await world.remains() == before


async def ended(member: Member, bench: Bench, made: dict[str, Any], *said: Any) -> None:
    runner = bench.runner(providers=among(Scripted("vendor", make=said)), retry=QUICKLY)
    await runner.run(UUID(made["id"]))


UPLOADS = "SELECT count(*) FROM assets WHERE key LIKE 'uploads/%'"


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled"])
async def test_what_came_with_an_order_goes_with_it_and_what_was_there_before_stays(
    outcome: str, alice: Member, bench: Bench, world: World, owner: Any
) -> None:
    kept = await uploaded(alice, RED)
    before = world.files()
    made = await buy(alice, "album", scenes=[scene(AT["blue"], kept)], cover={"face": AT["grey"]})
    bystander = await buy(alice, "album", scenes=[scene(AT["blue"])])
    assert await owner.fetchval(UPLOADS) == 4
    if outcome == "canceled":
        assert (await alice.http.post(f"/v1/generations/{made['id']}/cancel")).status_code == 200
    else:
        await ended(alice, bench, made, *([final()] * 2 if outcome == "failed" else []))
    shown = await receipt(alice, made)
    assert (shown["status"], len(shown["outputs"])) == (outcome, 2 if outcome == "succeeded" else 0)
    assert (await alice.http.delete(f"/v1/generations/{made['id']}")).status_code == 204
    assert await owner.fetchval(UPLOADS) == 2
    await ended(alice, bench, bystander)
    assert (await receipt(alice, bystander))["status"] == "succeeded"
    assert (await alice.http.delete(f"/v1/generations/{bystander['id']}")).status_code == 204
    assert world.files() == before
    assert await owner.fetchval("SELECT count(*) FROM erased_files") == 0


async def test_what_is_ordered_again_needs_its_pictures_longer(
    alice: Member, bench: Bench, client_for: ClientFor, db: Database, world: World, owner: Any
) -> None:
    admin = await enroll(db, client_for, "admin@example.com", 0, admin=True)
    made = await buy(alice, "album", scenes=[scene(AT["blue"])])
    await ended(alice, bench, made, final())
    again = await admin.http.post(f"/v1/admin/generations/{made['id']}/retry", json={"reason": "a test"})
    assert again.status_code == 202, again.text
    assert (await alice.http.delete(f"/v1/generations/{made['id']}")).status_code == 204
    vendor = Scripted("vendor")
    assert await bench.runner(providers=among(vendor)).run(UUID(again.json()["id"])) == "succeeded"
    assert [len(given) for given in vendor.given] == [1]
    assert (await alice.http.delete(f"/v1/generations/{again.json()['id']}")).status_code == 204
    assert world.files() == []
    assert await owner.fetchval("SELECT count(*) FROM assets") == 0


async def test_of_an_order_for_a_project_they_go_with_the_project(
    alice: Member, bench: Bench, world: World, owner: Any
) -> None:
    project = await alice.order()
    await ended(alice, bench, project["generation"])
    note = await buy(alice, "note", project["id"], topic="a cup", look_at=AT["blue"])
    await ended(alice, bench, note)
    assert (await receipt(alice, note))["status"] == "succeeded"
    problem(await alice.http.delete(f"/v1/generations/{note['id']}"), 409, "not_deletable")
    assert (await alice.http.delete(f"/v1/projects/{project['id']}")).status_code == 204
    assert world.files() == []
    assert await owner.fetchval("SELECT count(*) FROM assets") == 0


async def test_a_worker_erases_them_where_the_api_could_not(
    alice: Member, bench: Bench, world: World, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = await buy(alice, "album", scenes=[scene(AT["blue"])])
    await ended(alice, bench, made)
    from tallyframe.errors import Unavailable
    from tallyframe.generations.end import erase

    async def away(*_: Any) -> None:
        raise Unavailable

    with monkeypatch.context() as patched:
        patched.setattr(erase, "erase", away)
        assert (await alice.http.delete(f"/v1/generations/{made['id']}")).status_code == 204
    assert len(world.files()) == 2
    await bench.handle("erase_generation", UUID(made["id"]))
    assert world.files() == []
    assert await owner.fetchval("SELECT count(*) FROM outbox") == 0
