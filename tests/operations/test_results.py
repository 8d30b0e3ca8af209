"""Results of any kind: several media, all shown; data, which makes no project a draft; and no violation anywhere."""

from typing import Any
from uuid import UUID

import pytest

from tallyframe.db import Database
from tests.audit.conftest import Audits
from tests.operations.buying import ask_for, buy, places, receipt
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.drawn import GREEN, RED, picture
from tests.support.remains import problem
from tests.support.scripted import PNG, QUICKLY, Scripted, among, final
from tests.support.working import Bench

BLUE = (0, 0, 255)


async def run(bench: Bench, made: dict[str, Any], *said: Any) -> str:
    vendor = Scripted("vendor", make=said)
    return await bench.runner(providers=among(vendor), retry=QUICKLY).run(UUID(made["id"]))


def media(project: dict[str, Any]) -> list[tuple[str, int, int]]:
    return [(each["role"], each["position"], each["version"]) for each in project["media"]]


async def file(member: Member, url: str) -> bytes:
    answer = await member.http.get(url)
    assert answer.status_code == 200, url
    return answer.content


def png(colour: tuple[int, int, int]) -> Any:
    from dataclasses import replace

    return replace(PNG, data=picture(colour))


async def test_three_images_are_all_shown_and_made_again_as_newer_versions(
    rich: Member, bench: Bench, audits: Audits, db: Database, owner: Any
) -> None:
    project = await rich.order("a cup")
    assert await run(bench, project["generation"], png(RED)) == "succeeded"
    made = await buy(rich, "reel", project["id"], images=["a", "b", "c"])
    assert (await rich.project(project["id"]))["status"] == "pending"
    assert await run(bench, made, png(RED), png(GREEN), png(BLUE)) == "succeeded"

    shown, its_receipt = await rich.project(project["id"]), await receipt(rich, made)
    assert places(its_receipt) == [("image", 0), ("image", 1), ("image", 2)]
    assert media(shown) == [("image", 0, 2), ("image", 1, 1), ("image", 2, 1)]
    assert (shown["status"], shown["generation"]["id"]) == ("draft", made["id"])
    assert shown["image_url"] == shown["media"][0]["url"] == its_receipt["outputs"][0]["url"]
    for each, output in zip(shown["media"], its_receipt["outputs"], strict=True):
        assert {name: each[name] for name in output} == output
    assert {await file(rich, each["url"]) for each in shown["media"]} == {picture(each) for each in (RED, GREEN, BLUE)}

    again = await rich.http.post(f"/v1/projects/{project['id']}/regenerate")
    assert again.status_code == 202
    assert media(again.json()) == media(shown)  # until there is something newer
    assert await run(bench, again.json()["generation"]) == "succeeded"
    newer = await rich.project(project["id"])
    assert media(newer) == [("image", 0, 3), ("image", 1, 2), ("image", 2, 2)]
    assert newer["image_url"] != shown["image_url"]
    assert (await receipt(rich, made))["outputs"] == its_receipt["outputs"]  # the older ones stay where they are
    assert await audits.violated() == {}
    assert await assert_books_balance(db, owner) == {"succeeded": 3}


async def test_one_of_several_roles_leaves_the_others_as_they_are(rich: Member, bench: Bench) -> None:
    project = await rich.order("a cup")
    assert await run(bench, project["generation"]) == "succeeded"
    made = await buy(rich, "reel", project["id"], videos=["a", "b"])
    assert await run(bench, made) == "succeeded"
    shown = await rich.project(project["id"])
    assert media(shown) == [("image", 0, 1), ("video", 0, 1), ("video", 1, 1)]
    assert shown["video_url"] == shown["media"][1]["url"]
    poster = await buy(rich, "poster", project["id"], prompt="a fair")
    assert await run(bench, poster) == "succeeded"
    assert media(await rich.project(project["id"]))[1:3] == [("poster", 0, 1), ("poster", 1, 1)]
    assert set((await receipt(rich, poster))["output"]) == {"style", "headline", "words"}


async def in_state(member: Member, bench: Bench, state: str) -> dict[str, Any]:
    """A project in this state."""
    project = await member.order("a cup")
    if state == "canceled":
        assert (await member.http.post(f"/v1/projects/{project['id']}/cancel")).status_code == 200
    elif state != "pending":
        ended = await run(bench, project["generation"], *([final()] if state == "failed" else []))
        assert ended == ("failed" if state == "failed" else "succeeded")
    if state == "published":
        assert (await member.http.post(f"/v1/projects/{project['id']}/publish")).status_code == 200
    found = await member.project(project["id"])
    assert found["status"] == state
    return found


STATES = ("pending", "draft", "published", "failed", "canceled")


@pytest.mark.parametrize("outcome", ["succeeded", "failed", "canceled"])
async def test_data_changes_nothing_of_what_a_project_shows(
    outcome: str, rich: Member, bench: Bench, audits: Audits, db: Database, owner: Any
) -> None:
    for state in STATES:
        before = await in_state(rich, bench, state)
        made = await buy(rich, "note", before["id"], topic="a cup")
        if outcome == "canceled":
            assert (await rich.http.post(f"/v1/generations/{made['id']}/cancel")).status_code == 200
        else:
            assert await run(bench, made, *([final()] if outcome == "failed" else [])) == outcome
        after = await rich.project(before["id"])
        changes = {"status_sequence", "updated_at"}
        assert {name: after[name] for name in after if name not in changes} == {
            name: before[name] for name in before if name not in changes
        }, state
        assert after["status_sequence"] > before["status_sequence"]  # pollers see that something has changed
        shown = await receipt(rich, made)
        assert (shown["status"], shown["outputs"], shown["project_id"]) == (outcome, [], before["id"])
        assert (shown["output"] is not None) == (outcome == "succeeded")
        listed = (await rich.http.get(f"/v1/projects/{before['id']}/generations")).json()["data"]
        assert {each["id"] for each in listed} == {made["id"], before["generation"]["id"]}
    assert await audits.violated() == {}
    await bench.drain(bench.with_provider(Scripted("vendor")))
    assert await audits.violated() == {}
    await assert_books_balance(db, owner)


async def test_data_without_a_project(alice: Member, bench: Bench, audits: Audits, db: Database, owner: Any) -> None:
    made = await buy(alice, "note", topic="a cup", times=3)
    assert await run(bench, made) == "succeeded"
    shown = await receipt(alice, made)
    assert (shown["project_id"], shown["outputs"], len(shown["output"]["titles"])) == (None, [], 3)
    assert await owner.fetchval("SELECT count(*) FROM projects") == 0
    assert await audits.violated() == {}
    assert await assert_books_balance(db, owner) == {"succeeded": 1}


async def test_what_makes_no_media_makes_no_project(alice: Member, owner: Any) -> None:
    body = {"kind": "note", "prompt": "a cup"}
    assert problem(await alice.http.post("/v1/projects", json=body), 422, "validation_failed")
    project = await alice.order()
    nothing = await alice.http.post(f"/v1/projects/{project['id']}/publish")
    problem(nothing, 409, "nothing_to_publish")
    assert await owner.fetchval("SELECT count(*) FROM projects") == 1


async def test_a_success_without_a_result_is_none(alice: Member, bench: Bench, monkeypatch: Any) -> None:
    """A bug in an operation: the database has the last word, and the run ends as any bug does."""
    from tallyframe.operations.base import Result
    from tests.operations.dropped.note import Note

    async def make_nothing(*_: Any) -> Result:
        return Result()

    monkeypatch.setattr(Note, "run", make_nothing)
    monkeypatch.setattr(Note, "gives", frozenset())
    answer = await ask_for(alice, "note", topic="a")
    assert await run(bench, answer.json()) == "failed"
    assert (await receipt(alice, answer.json()))["error"]["code"] == "internal"
    assert await alice.available() == 20
