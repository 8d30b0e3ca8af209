"""The same request twice is one request, and is answered as the first time."""

import asyncio
from typing import Any
from uuid import UUID

import httpx
import pytest

from tallyframe.db import Database
from tallyframe.idempotency import keys
from tallyframe.idempotency.keys import prune
from tests.conftest import ClientFor, enroll
from tests.support.books import assert_books_balance
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.remains import problem
from tests.support.working import Bench

ORDER = {"kind": "image", "prompt": "a cup", "metadata": {"a": "1", "b": "2"}}


async def ask(member: Member, path: str, key: str | None = "key-1", **how: Any) -> httpx.Response:
    headers = {} if key is None else {"Idempotency-Key": key}
    return await member.http.post(path, headers=headers, **how)


def replayed(answer: httpx.Response) -> bool:
    return bool(answer.headers.get("idempotent-replayed") == "true")


async def count(owner: Any, table: str) -> int:
    return int(await owner.fetchval(f"SELECT count(*) FROM {table}"))  # noqa: S608  # of ours


async def test_an_order_sent_again_is_answered_again_and_paid_once(alice: Member, bench: Bench, owner: Any) -> None:
    first = await ask(alice, "/v1/projects", json=ORDER)
    assert (first.status_code, replayed(first)) == (202, False)
    await bench.drain()  # meanwhile the project has moved on

    again = await ask(alice, "/v1/projects", json=ORDER)
    assert (again.status_code, replayed(again)) == (202, True)
    assert again.json() == first.json()
    assert again.headers["location"] == first.headers["location"]
    assert ("etag" in first.headers, "etag" in again.headers) == (True, False)  # it isn't what a poll shows by now
    assert (await count(owner, "projects"), await alice.available()) == (1, 15)
    assert (await alice.project(first.json()["id"]))["status"] == "draft"


async def test_another_key_and_no_key_are_other_orders(alice: Member, owner: Any) -> None:
    answers = [await ask(alice, "/v1/projects", key, json=ORDER) for key in ("a", "b", None, None)]
    assert [answer.status_code for answer in answers] == [202] * 4
    assert len({answer.json()["id"] for answer in answers}) == 4
    assert await count(owner, "idempotency_keys") == 2


async def test_a_key_is_its_users_own(alice: Member, bob: Member) -> None:
    hers, his = await ask(alice, "/v1/projects", json=ORDER), await ask(bob, "/v1/projects", json=ORDER)
    assert (hers.status_code, his.status_code, replayed(his)) == (202, 202, False)
    assert hers.json()["id"] != his.json()["id"]


async def test_bare_or_quoted_is_the_same_key(alice: Member) -> None:
    first = await ask(alice, "/v1/projects", '"a key"', json=ORDER)
    again = await ask(alice, "/v1/projects", "a key", json=ORDER)
    assert replayed(again)
    assert again.json() == first.json()


async def test_the_same_said_otherwise_is_the_same_request(alice: Member) -> None:
    first = await ask(alice, "/v1/projects", json=ORDER)
    turned = {"metadata": {"b": "2", "a": "1"}, "prompt": " a cup ", "kind": "image", "images": []}
    again = await ask(alice, "/v1/projects", json=turned)
    assert replayed(again)
    assert again.json() == first.json()


OTHERS: list[dict[str, Any]] = [
    {"json": {**ORDER, "prompt": "another cup"}},
    {"json": {**ORDER, "aspect_ratio": "16:9"}},
    {"json": {**ORDER, "metadata": {}}},
    {"json": {**ORDER, "kind": "video"}},
    {"data": {"kind": "image", "prompt": "a cup"}, "files": {"images": picture()}},
]


@pytest.mark.parametrize("other", OTHERS)
async def test_another_request_with_the_same_key_is_refused(alice: Member, owner: Any, other: dict[str, Any]) -> None:
    await ask(alice, "/v1/projects", json=ORDER)
    problem(await ask(alice, "/v1/projects", **other), 422, "idempotency_key_reused")
    problem(await ask(alice, "/v1/api-keys", json={"name": "x"}), 422, "idempotency_key_reused")
    assert (await count(owner, "projects"), await count(owner, "assets"), await alice.available()) == (1, 0, 15)


async def test_pictures_are_told_by_their_bytes_and_not_by_the_form(alice: Member, owner: Any) -> None:
    form = {"kind": "image", "prompt": "a cup"}
    first = await ask(alice, "/v1/projects", data=form, files={"images": picture()})
    again = await ask(alice, "/v1/projects", data=form, files={"images": picture()})
    assert again.request.headers["content-type"] != first.request.headers["content-type"]
    assert replayed(again)
    assert again.json() == first.json()
    other = {"images": picture((0, 0, 255))}
    problem(await ask(alice, "/v1/projects", data=form, files=other), 422, "idempotency_key_reused")
    assert await count(owner, "assets") == 1


@pytest.mark.parametrize("key", ["", '""', " ", "x" * 256, "caf\u00e9", "a\tb"])
async def test_what_is_no_key_is_refused(alice: Member, owner: Any, key: str) -> None:
    answer = await alice.http.post("/v1/projects", json=ORDER, headers={b"Idempotency-Key": key.encode("latin-1")})
    problem(answer, 422, "validation_failed")
    assert await count(owner, "projects") == 0


async def test_a_refused_request_leaves_its_key_free(db: Database, client_for: ClientFor, owner: Any) -> None:
    poor = await enroll(db, client_for, "poor@example.com", 4)
    problem(await ask(poor, "/v1/projects", json=ORDER), 402, "insufficient_credits")
    problem(await ask(poor, "/v1/projects", json={"kind": "image"}), 422, "validation_failed")
    assert await count(owner, "idempotency_keys") == 0
    await enroll(db, client_for, "poor@example.com", 1)
    accepted = await ask(poor, "/v1/projects", json=ORDER)
    assert (accepted.status_code, replayed(accepted)) == (202, False)


async def test_twenty_at_once_are_one(alice: Member, db: Database, owner: Any, bench: Bench) -> None:
    answers = await asyncio.gather(*(ask(alice, "/v1/projects", json=ORDER) for _ in range(20)))
    assert [answer.status_code for answer in answers] == [202] * 20
    assert sum(not replayed(answer) for answer in answers) == 1
    assert len({answer.text for answer in answers}) == 1
    await bench.drain()
    assert await assert_books_balance(db, owner) == {"succeeded": 1}
    assert await alice.available() == 15


async def test_twins_who_can_pay_only_once_are_answered_alike(db: Database, client_for: ClientFor, owner: Any) -> None:
    poor = await enroll(db, client_for, "poor@example.com", 5)
    answers = await asyncio.gather(*(ask(poor, "/v1/projects", json=ORDER) for _ in range(10)))
    assert [answer.status_code for answer in answers] == [202] * 10
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await count(owner, "ledger_entries") == 2


@pytest.mark.parametrize("what", ["regenerate", "video"])
async def test_orders_for_a_project(alice: Member, bench: Bench, owner: Any, what: str) -> None:
    project = await alice.order()
    await bench.drain()
    path = f"/v1/projects/{project['id']}/{what}"
    first, *others = await asyncio.gather(*(ask(alice, path) for _ in range(5)))
    assert [answer.status_code for answer in (first, *others)] == [202] * 5
    assert len({answer.json()["generation"]["id"] for answer in (first, *others)}) == 1
    problem(await ask(alice, path, "another"), 409, "generating")
    await bench.drain()
    assert replayed(await ask(alice, path))
    assert await count(owner, "generations") == 2
    assert await alice.available() == {"regenerate": 10, "video": 5}[what]


async def test_a_picture_is_kept_once(alice: Member, owner: Any, settings: Any) -> None:
    answers = await asyncio.gather(
        *(ask(alice, "/v1/assets", files={"file": ("a.png", picture(), "image/png")}) for _ in range(4))
    )
    assert [answer.status_code for answer in answers] == [201] * 4
    assert len({answer.text for answer in answers}) == 1
    assert await count(owner, "assets") == 1
    stored = [path for path in (settings.server.data_dir / "media").rglob("*") if path.is_file()]
    assert len(stored) == 1, "those who came second take their file away again"


async def test_an_api_key_is_made_once_and_its_secret_is_kept_nowhere(alice: Member, owner: Any) -> None:
    first, again = [(await ask(alice, "/v1/api-keys", json={"name": "mine"})).json() for _ in range(2)]
    assert first["secret"].startswith("tf_")
    assert again == {**first, "secret": None}
    kept = await owner.fetchval("SELECT answer::text FROM idempotency_keys")
    assert first["id"] in kept
    assert first["secret"] not in kept


async def test_a_crash_before_the_answer_was_kept_costs_the_answer_only(
    alice: Member, bench: Bench, owner: Any
) -> None:
    first = await ask(alice, "/v1/projects", json=ORDER)
    await owner.execute("UPDATE idempotency_keys SET answer = NULL")  # as the process left it that died
    await bench.drain()
    again = await ask(alice, "/v1/projects", json=ORDER)
    assert replayed(again)
    assert (again.json()["id"], again.json()["generation"]["id"]) == (
        first.json()["id"],
        first.json()["generation"]["id"],
    )
    assert (await ask(alice, "/v1/projects", json=ORDER)).json() == again.json()


async def test_a_lost_answer_names_what_was_ordered_then_and_not_what_came_later(
    alice: Member, bench: Bench, owner: Any
) -> None:
    failing = {**ORDER, "prompt": "a cup [fail:content_policy]"}
    project = (await ask(alice, "/v1/projects", json=failing)).json()
    path = f"/v1/projects/{project['id']}/video"
    await bench.drain()
    later = (await ask(alice, path, "key-2", json={"prompt": "a cup"})).json()
    await owner.execute("UPDATE idempotency_keys SET answer = NULL")  # as the processes left them that died
    first, second = (
        await ask(alice, "/v1/projects", json=failing),
        await ask(alice, path, "key-2", json={"prompt": "a cup"}),
    )
    assert (replayed(first), replayed(second)) == (True, True)
    told = first.json()
    assert (told["generation"]["id"], told["generation"]["status"]) == (project["generation"]["id"], "failed")
    assert (told["error"]["code"], told["status"], told["is_generating"]) == ("content_policy", "pending", True)
    assert second.json() == later


async def test_of_a_deleted_project_no_answer_is_left_and_its_keys_stay_taken(
    alice: Member, bench: Bench, owner: Any
) -> None:
    project = (await ask(alice, "/v1/projects", json=ORDER)).json()
    path = f"/v1/projects/{project['id']}"
    await bench.drain()
    assert (await ask(alice, f"{path}/regenerate", "key-2")).status_code == 202
    await bench.drain()
    assert (await alice.http.delete(path)).status_code == 204
    assert await count(owner, "idempotency_keys WHERE answer = 'null'") == 2
    problem(await ask(alice, "/v1/projects", json=ORDER), 404, "not_found")
    problem(await ask(alice, f"{path}/regenerate", "key-2"), 404, "not_found")
    assert (await count(owner, "projects"), await count(owner, "generations")) == (1, 2)


async def test_an_answer_that_comes_after_the_deletion_is_not_kept(
    alice: Member, bench: Bench, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The order is accepted, made, and its project deleted, before its first answer is kept."""
    real = keys.remember

    async def late(*what: Any) -> Any:
        monkeypatch.setattr(keys, "remember", real)
        await bench.drain()
        project_id = await owner.fetchval("SELECT id FROM projects")
        assert (await alice.http.delete(f"/v1/projects/{project_id}")).status_code == 204
        return await real(*what)

    monkeypatch.setattr(keys, "remember", late)
    # With a picture: then the answer is kept by a statement of its own.
    form: dict[str, Any] = {"data": {"kind": "image", "prompt": "a cup"}, "files": {"images": picture()}}
    assert (await ask(alice, "/v1/projects", **form)).status_code == 202
    assert await count(owner, "idempotency_keys WHERE answer::text LIKE '%prompt%'") == 0
    problem(await ask(alice, "/v1/projects", **form), 404, "not_found")


async def test_keys_are_forgotten_after_their_hours(alice: Member, worker_db: Database, owner: Any) -> None:
    answers = [(await ask(alice, "/v1/projects", key, json=ORDER)).json() for key in ("old", "new")]
    made = [answer["generation"]["id"] for answer in answers]
    await owner.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old'")
    assert await prune(worker_db, hours=24) == 1
    assert [UUID(str(row["ref"])) for row in await owner.fetch("SELECT ref FROM idempotency_keys")] == [UUID(made[1])]
    assert not replayed(await ask(alice, "/v1/projects", "old", json=ORDER))
