"""Pictures uploaded for later orders: their owner lists, counts and deletes them; unused ones go by themselves."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any
from uuid import UUID

import httpx
import pytest

from tallyframe.generations.end import uploads
from tallyframe.generations.end.uploads import ERASE_UPLOAD
from tallyframe.ids import first_id, made_at
from tallyframe.settings import Settings
from tallyframe.storages.local import LocalStorage
from tests.conftest import enroll, owner_of, serving
from tests.support.cast import Member
from tests.support.drawn import GREEN, RED, picture
from tests.support.remains import World, problem
from tests.support.working import Bench

EXPIRE = "UPDATE assets SET expires_at = now() - interval '1 s'"


async def upload(member: Member, **more: Any) -> dict[str, Any]:
    answer = await member.http.post("/v1/assets", files={"file": ("a.png", picture(RED), "image/png")}, **more)
    assert answer.status_code == 201, answer.text
    made: dict[str, Any] = answer.json()
    return made


async def listed(member: Member) -> list[str]:
    return [asset["id"] for asset in (await member.http.get("/v1/assets")).json()["data"]]


async def test_they_are_listed_and_counted_a_page_at_a_time(rich: Member, alice: Member, bench: Bench) -> None:
    made = [await upload(rich) for _ in range(5)]
    await rich.order(images=[{"asset_id": made[0]["id"]}])
    await rich.http.post(
        "/v1/projects", data={"kind": "image", "prompt": "a"}, files={"images": ("a.png", picture(GREEN), "image/png")}
    )
    await bench.drain()  # neither what is made nor what comes with an order is one of them
    first = (await rich.http.get("/v1/assets?limit=3")).json()
    second = (await rich.http.get(f"/v1/assets?limit=3&cursor={first['next_cursor']}")).json()
    assert first["data"] + second["data"] == made[::-1]
    assert second["next_cursor"] is None
    usage = first["usage"]
    assert (usage["assets"], usage["bytes"]) == (5, sum(asset["bytes"] for asset in made))
    assert (usage["max_assets"], usage["max_bytes"], usage["unused_days"]) == (1000, 2**30, 30)
    assert (await alice.http.get("/v1/assets")).json()["data"] == []


async def test_one_is_deleted_at_once_and_its_file_soon(
    alice: Member, bob: Member, bench: Bench, world: World, owner: Any, anybody: httpx.AsyncClient
) -> None:
    made = await upload(alice)
    problem(await bob.http.delete(f"/v1/assets/{made['id']}"), 404, "not_found")
    assert (await alice.http.delete(f"/v1/assets/{made['id']}")).status_code == 204
    problem(await alice.http.delete(f"/v1/assets/{made['id']}"), 404, "not_found")
    assert await listed(alice) == []
    order = {"kind": "image", "prompt": "a cup", "images": [{"asset_id": made["id"]}]}
    problem(await alice.http.post("/v1/projects", json=order), 404, "not_found")
    await bench.handle(ERASE_UPLOAD, UUID(made["id"]))
    assert (world.files(), await owner.fetchval("SELECT count(*) FROM assets")) == ([], 0)
    assert await owner.fetchval("SELECT count(*) FROM outbox") == 0
    assert (await anybody.get(made["url"])).status_code == 404


async def test_a_deleted_one_does_not_come_back_by_its_key(alice: Member, bench: Bench) -> None:
    key = {"Idempotency-Key": "a picture"}
    made = await upload(alice, headers=key)
    assert (await alice.http.delete(f"/v1/assets/{made['id']}")).status_code == 204
    again = await alice.http.post("/v1/assets", files={"file": ("a.png", picture(RED), "image/png")}, headers=key)
    problem(again, 404, "not_found")


async def test_one_that_is_used_stays_until_its_users_go(alice: Member, bench: Bench) -> None:
    made = await upload(alice)
    project = await alice.order(images=[{"asset_id": made["id"]}])
    problem(await alice.http.delete(f"/v1/assets/{made['id']}"), 409, "asset_in_use")
    await bench.drain()
    problem(await alice.http.delete(f"/v1/assets/{made['id']}"), 409, "asset_in_use")
    assert (await alice.http.delete(f"/v1/projects/{project['id']}")).status_code == 204
    assert await listed(alice) == [made["id"]]
    assert (await alice.http.delete(f"/v1/assets/{made['id']}")).status_code == 204


async def test_what_belongs_to_a_project_is_no_upload(alice: Member, bench: Bench) -> None:
    answer = await alice.http.post(
        "/v1/projects", data={"kind": "image", "prompt": "a"}, files={"images": ("a.png", picture(), "image/png")}
    )
    await bench.drain()
    project = await alice.project(answer.json()["id"])
    for asset in (project["images"][0], project["generation"]["outputs"][0]):
        refused = await alice.http.delete(f"/v1/assets/{asset['id']}")
        assert refused.status_code in {404, 409}
        assert (await alice.http.get(asset["url"])).status_code == 200


@pytest.mark.parametrize("limit", [{"max_assets": 2}, {"max_asset_bytes": 1024}])
async def test_a_user_may_have_so_many(
    settings: Settings, db: Any, world: World, monkeypatch: pytest.MonkeyPatch, limit: dict[str, int]
) -> None:
    async with serving(settings.replaced(**limit)) as client_for:
        carol = await enroll(db, client_for, "carol@example.com", 20)
        noisy = {"file": ("a.png", picture(RED, size=(40, 40)), "image/png")}
        codes = [(await carol.http.post("/v1/assets", files=noisy)).status_code for _ in range(12)]
        assert codes[:2] == [201, 201]
        assert codes[-1] == 409
        refused = problem(await carol.http.post("/v1/assets", files=noisy), 409, "asset_quota_reached")
        assert refused["assets"] == codes.count(201) == len(world.files())
        await carol.http.delete(f"/v1/assets/{(await listed(carol))[0]}")
        assert (await carol.http.post("/v1/assets", files=noisy)).status_code == 201


async def test_an_unused_one_goes_when_its_time_is_over(rich: Member, bench: Bench, owner: Any, world: World) -> None:
    unused, used, _ = [(await upload(rich))["id"] for _ in range(3)]
    await rich.order(images=[{"asset_id": used}])
    await owner.execute(f"{EXPIRE} WHERE id = ANY($1)", [unused, used])
    assert await uploads.expire(bench.db, days=30) == 2
    assert await uploads.expire(bench.db, days=30) == 0  # the one that is used has got another 30 days
    assert unused not in await listed(rich)
    assert len(await listed(rich)) == 2
    await bench.handle(ERASE_UPLOAD, UUID(unused))
    assert len(world.files()) == 2


LOCKED = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'"


async def until_waiting(owner: Any, count: int) -> None:
    async with asyncio.timeout(15):
        while await owner.fetchval(LOCKED) < count:
            await asyncio.sleep(0.02)


def ordered(path: str, picture_id: str) -> dict[str, Any]:
    fields = {"prompt": "a cup", "images": [{"asset_id": picture_id}]}
    return {"kind": "image", **fields} if path == "/v1/projects" else {"operation": "image", "input": fields}


async def test_a_picture_is_in_use_also_if_the_clock_of_who_stored_it_was_days_ahead(alice: Member, owner: Any) -> None:
    made = UUID((await upload(alice))["id"])
    ahead = first_id(made_at(made) + 5 * 24 * 60 * 60 * 1000)
    later = UUID(int=ahead.int | made.int & (2**80 - 1))
    await owner.execute("UPDATE assets SET id = $1", later)
    order = ordered("/v1/generations", str(later))
    assert (await alice.http.post("/v1/generations", json=order)).status_code == 202
    problem(await alice.http.delete(f"/v1/assets/{later}"), 409, "asset_in_use")


@pytest.mark.parametrize("path", ["/v1/projects", "/v1/generations"])
async def test_a_picture_of_an_order_that_is_being_accepted_is_in_use(
    alice: Member, owner: Any, database_url: str, path: str
) -> None:
    made = await upload(alice)
    async with owner_of(database_url) as other, other.transaction():
        await other.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", alice.user.account_id)
        ordering = asyncio.create_task(alice.http.post(path, json=ordered(path, made["id"])))
        await until_waiting(owner, 1)
        deleting = asyncio.create_task(alice.http.delete(f"/v1/assets/{made['id']}"))
        await until_waiting(owner, 2)
    assert (await ordering).status_code == 202
    problem(await deleting, 409, "asset_in_use")
    assert await listed(alice) == [made["id"]]


async def test_an_upload_expires_only_if_no_order_is_just_being_accepted(
    alice: Member, bench: Bench, owner: Any, database_url: str
) -> None:
    made = await upload(alice)
    await owner.execute(EXPIRE)
    async with owner_of(database_url) as other, other.transaction():
        await other.execute("SELECT FROM accounts WHERE id = $1 FOR UPDATE", alice.user.account_id)
        ordering = asyncio.create_task(alice.http.post("/v1/generations", json=ordered("/v1/generations", made["id"])))
        await until_waiting(owner, 1)
        expiring = asyncio.create_task(uploads.expire(bench.db, days=30))
        await until_waiting(owner, 2)
    assert (await ordering).status_code == 202
    assert await expiring == 1
    assert await listed(alice) == [made["id"]]


@pytest.mark.parametrize("path", ["/v1/projects", "/v1/generations"])
async def test_an_order_of_a_picture_that_is_being_deleted_is_refused(
    alice: Member, owner: Any, database_url: str, world: World, path: str
) -> None:
    made = await upload(alice)
    before = await world.remains()
    async with owner_of(database_url) as other, other.transaction():
        await other.execute("SELECT FROM assets WHERE id = $1 FOR UPDATE", made["id"])
        ordering = asyncio.create_task(alice.http.post(path, json=ordered(path, made["id"])))
        await until_waiting(owner, 1)
        await other.execute("UPDATE assets SET deleted_at = now()")
    refused = problem(await ordering, 404, "not_found")
    assert "no such picture" in refused["detail"]
    await owner.execute("UPDATE assets SET deleted_at = NULL")
    assert await world.remains() == before


async def test_an_upload_whose_client_leaves_while_it_is_stored_is_taken_out_again(
    alice: Member, world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    put: Callable[..., Coroutine[None, None, None]] = LocalStorage.put
    begun = asyncio.Event()

    async def slow(self: LocalStorage, *what: Any) -> None:
        begun.set()

        def in_a_thread() -> None:
            time.sleep(0.5)
            asyncio.run(put(self, *what))

        await asyncio.to_thread(in_a_thread)

    monkeypatch.setattr(LocalStorage, "put", slow)
    asking = asyncio.create_task(upload(alice))
    await begun.wait()
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    async with asyncio.timeout(10):
        while True:
            await asyncio.sleep(0.6)
            if not world.files():
                break
