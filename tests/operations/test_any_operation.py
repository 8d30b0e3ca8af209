"""What is true of an operation that nobody knew: its price, its outputs, its failures, its end and its traces."""

import asyncio
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from pydantic import Field

from tallyframe.db import Database
from tallyframe.generations.end.withdraw import withdraw
from tallyframe.operations.base import Context, Result
from tallyframe.operations.fields import Prompt
from tallyframe.providers.base import Answer, Data, TextTask, Ticket
from tallyframe.settings import Settings, load_settings
from tests.audit.conftest import Audits
from tests.conftest import serving
from tests.operations.buying import accepted, ask_for, buy, places, receipt
from tests.operations.dropped.note import Note, NoteInput, Words
from tests.operations.test_side_by_side import AWAKE, DUE, ByPrompt, states
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.remains import World, problem
from tests.support.scripted import PNG, QUICKLY, Scripted, among, final
from tests.support.working import Bench

FREE = {"quoted": 0, "charged": 0, "refunded": 0}
ENTRIES = "SELECT count(*) FROM ledger_entries WHERE generation_id IS NOT NULL"


async def run(bench: Bench, vendor: Scripted, made: dict[str, Any]) -> str:
    return await bench.runner(providers=among(vendor), retry=QUICKLY).run(UUID(made["id"]))


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled"])
async def test_what_costs_nothing_moves_nothing(
    outcome: str, alice: Member, bench: Bench, owner: Any, audits: Audits, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Note, "default_price", 0)
    async with serving(bench.settings) as client_for:
        alice = replace(alice, http=client_for(alice.key))
        listed = (await alice.http.get("/v1/operations")).json()["data"]
        assert {each["name"]: each["credits"] for each in listed}["note"] == 0
        made = await buy(alice, "note", topic="a cup")
        assert made["credits"] == FREE
        if outcome == "canceled":
            assert (await alice.http.post(f"/v1/generations/{made['id']}/cancel")).status_code == 200
        else:
            assert await run(bench, Scripted("vendor", make=[final()] * (outcome == "failed")), made) == outcome
        shown = await receipt(alice, made)
        assert (shown["status"], shown["credits"], await alice.available()) == (outcome, FREE, 20)
    assert await owner.fetchval(ENTRIES) == 0
    assert await audits.violated() == {}


async def test_a_price_of_the_settings_is_listed_debited_and_refunded(
    alice: Member, bench: Bench, settings: Settings, owner: Any, db: Database
) -> None:
    dearer = load_settings(**{**_kept(settings), "prices": {"album": 9, "note": 0}})
    async with serving(dearer) as client_for:
        alice = replace(alice, http=client_for(alice.key))
        listed = {each["name"]: each["credits"] for each in (await alice.http.get("/v1/operations")).json()["data"]}
        assert (listed["album"], listed["note"], listed["poster"]) == (9, 0, 7)
        scenes: dict[str, Any] = {"scenes": [{"words": "a"}]}
        cheap = {"operation": "album", "input": scenes, "max_credits": 8}
        refused = problem(await alice.http.post("/v1/generations", json=cheap), 409, "price_changed")
        assert (refused["credits"], refused["max_credits"]) == (9, 8)
        made = await buy(alice, "album", **scenes)
        assert (made["credits"]["charged"], await alice.available()) == (9, 11)
        assert await run(bench, Scripted("vendor", make=[final()]), made) == "failed"
        assert (await receipt(alice, made))["credits"] == {"quoted": 9, "charged": 9, "refunded": 9}
        assert await alice.available() == 20
    assert await assert_books_balance(db, owner) == {"failed": 1}


def _kept(settings: Settings) -> dict[str, Any]:
    return {
        "database_url": settings.server.database_url.get_secret_value(),
        "redis_url": settings.server.redis_url.get_secret_value(),
        "data_dir": settings.server.data_dir,
        "public_url": settings.server.public_url,
        "database_pool_size": 8,
    }


ALBUM: dict[str, Any] = {"scenes": [{"words": word} for word in "abc"], "cover": {}}
PLACES = [("cover", 0), ("page", 0), ("page", 1), ("page", 2)]


async def test_several_outputs_are_shown_for_the_generation_and_for_its_project(
    rich: Member, bench: Bench, audits: Audits, world: World
) -> None:
    project = await rich.order("a cup")
    assert await run(bench, Scripted("vendor"), project["generation"]) == "succeeded"
    made = await buy(rich, "album", project["id"], **ALBUM)
    assert await run(bench, Scripted("vendor"), made) == "succeeded"
    assert places(await receipt(rich, made)) == PLACES
    shown = await rich.project(project["id"])
    assert [(each["role"], each["position"]) for each in shown["media"]] == sorted([*PLACES, ("image", 0)])
    for each in shown["media"]:
        assert (await rich.http.get(each["url"])).status_code == 200
    assert (await rich.http.post(f"/v1/projects/{project['id']}/publish")).status_code == 200
    [explored] = (await rich.http.get("/v1/explore")).json()["data"]
    assert explored["image_url"] == shown["image_url"]
    assert await audits.violated() == {}
    assert (await rich.http.delete(f"/v1/projects/{project['id']}")).status_code == 204
    assert world.files() == []
    assert await audits.violated() == {}


async def test_what_fails_after_others_are_done_shows_none_of_them_and_leaves_no_file(
    alice: Member, bench: Bench, audits: Audits, world: World, db: Database, owner: Any
) -> None:
    made = await buy(alice, "album", **ALBUM)

    async def fail_late() -> Answer:
        async with asyncio.timeout(20):
            while await states(owner, made) != DONE_BUT_ONE:
                await asyncio.sleep(0.01)
        raise final()

    assert await run(bench, ByPrompt({"b": [fail_late]}), made) == "failed"
    shown = await receipt(alice, made)
    assert (shown["outputs"], shown["credits"]["refunded"], await alice.available()) == ([], 4, 20)
    assert len(world.files()) == 3
    assert await audits.violated() == {}
    assert (await alice.http.delete(f"/v1/generations/{made['id']}")).status_code == 204
    assert world.files() == []
    problem(await alice.http.get(f"/v1/generations/{made['id']}"), 404, "not_found")
    assert await audits.violated() == {}
    assert await assert_books_balance(db, owner) == {"failed": 1}


DONE_BUT_ONE = [("cover", "done"), ("page_0", "done"), ("page_1", "intent"), ("page_2", "done")]


async def test_what_is_canceled_while_tickets_are_out_is_withdrawn_refunded_and_erased(
    alice: Member, bench: Bench, audits: Audits, world: World, db: Database, owner: Any
) -> None:
    made = await buy(alice, "album", **ALBUM)
    vendor = ByPrompt({"a": [Ticket("a", 60)], "c": [Ticket("c", 60)]})
    assert await run(bench, vendor, made) == "snoozed"
    assert (await alice.http.post(f"/v1/generations/{made['id']}/cancel")).status_code == 200
    assert await withdraw(bench.with_provider(vendor).dependencies, UUID(made["id"])) == "withdrawn"
    assert sorted(vendor.stopped) == ["a", "c"]
    assert (await alice.http.delete(f"/v1/generations/{made['id']}")).status_code == 204
    assert (world.files(), await alice.available()) == ([], 20)
    assert await audits.violated() == {}
    assert await assert_books_balance(db, owner) == {"canceled": 1}


async def test_whoever_goes_on_after_a_lost_worker_asks_for_nothing_that_is_done(
    alice: Member, bench: Bench, audits: Audits, db: Database, owner: Any
) -> None:
    """Words, two images, words: the worker is lost while it asks for the second image."""
    made = await buy(alice, "poster", prompt="a fair")
    asked, is_lost = asyncio.Event(), asyncio.Event()

    async def hang() -> Answer:
        asked.set()
        async with asyncio.timeout(60):
            await is_lost.wait()
        return PNG

    first = Scripted("vendor", make=[Data({"front": "f", "back": "b"}), PNG, Ticket("a-ticket", 60)], collect=[hang])
    assert await run(bench, first, made) == "snoozed"
    await owner.execute(AWAKE)
    await owner.execute(DUE, ["front", "back"])
    losing = asyncio.create_task(run(bench, first, made))
    await asked.wait()
    await owner.execute("UPDATE generations SET lease_until = now() - interval '1 second'")

    second = Scripted("vendor", make=[Data({"headline": "h", "words": ["w"]})])
    assert await run(bench, second, made) == "succeeded"
    is_lost.set()
    assert await losing == "claim_lost"
    assert (first.orders, second.orders, second.asked) == (3, 1, ["a-ticket"])
    shown = await receipt(alice, made)
    assert (places(shown), shown["output"]["headline"], shown["attempt"]) == ([("poster", 0), ("poster", 1)], "h", 2)
    assert await audits.violated() == {}
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


ODD = ["", " ", "a b", "a-1", "a.png", "../a", "a/b", "A", "ä", "a\n", "a\x00", "a" * 61]


@pytest.mark.parametrize("name", [*ODD, "a", "_", "0", "a" * 60])
async def test_a_name_that_is_none_is_refused_before_anything_is_bought(
    name: str, alice: Member, bench: Bench, db: Database, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def name_it(_self: Note, order: NoteInput, context: Context) -> Result:
        made = await context.steps({each: TextTask("Write.", order.topic, Words) for each in ("first", name)})
        return Result(data={"titles": [each.title for each in made.values()]})

    monkeypatch.setattr(Note, "run", name_it)
    made = await buy(alice, "note", topic="a cup")
    vendor = Scripted("vendor")
    outcome = "failed" if name in ODD else "succeeded"
    assert await run(bench, vendor, made) == outcome
    assert vendor.orders == (0 if name in ODD else 2)
    assert await assert_books_balance(db, owner) == {outcome: 1}


class Aliased(NoteInput):
    topic: Prompt = Field(alias="about")


async def test_a_field_that_is_sent_by_another_name_is_kept_by_it(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Note, "Input", Aliased)
    made = await buy(alice, "note", about="a cup")
    assert await run(bench, Scripted("vendor"), made) == "succeeded"
    assert await owner.fetchval("SELECT input->>'about' FROM generations") == "a cup"


async def test_what_is_refused_leaves_nothing_and_uses_no_key(alice: Member, world: World) -> None:
    before = await world.remains()
    key = {"Idempotency-Key": "a key"}
    wrong = {"operation": "album", "input": {"scenes": []}}
    problem(await alice.http.post("/v1/generations", json=wrong, headers=key), 422, "validation_failed")
    problem(await ask_for(alice, "album", scenes=[{"words": " "}]), 422, "validation_failed")
    assert await world.remains() == before
    right = {"operation": "album", "input": {"scenes": [{"words": "a"}]}}
    accepted(await alice.http.post("/v1/generations", json=right, headers=key))
