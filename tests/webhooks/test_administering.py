"""Administrators find events, look into one, apply one again or give up on it; each act with its line in the log."""

import asyncio
import base64
from typing import Any
from uuid import UUID

import httpx
import pytest

from tallyframe.db import Database
from tallyframe.ids import new_id
from tests.admin.conftest import WHY
from tests.conftest import ClientFor
from tests.support.clerk import BORN, Clerk, deleted_event, user_event
from tests.support.jwks import JwksStub
from tests.support.postings import verdict
from tests.support.remains import problem
from tests.support.telling import calls, waiting_event

LINES = "SELECT action, reason, user_id, details::jsonb->>'event_id', details->>'outcome' FROM admin_log ORDER BY id"


@pytest.fixture
def root(clients: ClientFor, admin_key: str) -> httpx.AsyncClient:
    """An administrator."""
    return clients(admin_key)


async def look(root: httpx.AsyncClient, path: str = "", **query: Any) -> dict[str, Any]:
    answer = await root.get(f"/v1/admin/webhooks{path}", params=query)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


async def act(root: httpx.AsyncClient, event_id: object, what: str) -> httpx.Response:
    return await root.post(f"/v1/admin/webhooks/{event_id}/{what}", json={"reason": WHY})


async def lines(owner: Any) -> list[tuple[Any, ...]]:
    return [tuple(row) for row in await owner.fetch(LINES)]


async def id_of(owner: Any, event_id: str) -> UUID:
    found: UUID = await owner.fetchval("SELECT id FROM webhook_events WHERE event_id = $1", event_id)
    return found


async def test_an_event_is_shown_with_what_was_sent(clerk: Clerk, root: httpx.AsyncClient) -> None:
    await clerk.tell(user_event("user.created"), event_id="msg_1")
    [listed] = (await look(root))["data"]
    assert {**listed, "id": "", "received_at": "", "finished_at": ""} == {
        "id": "",
        "source": "clerk",
        "event_id": "msg_1",
        "type": "user.created",
        "subject": "user_1",
        "status": "applied",
        "attempts": 1,
        "error": None,
        "received_at": "",
        "finished_at": "",
    }
    detail = await look(root, f"/{listed['id']}")
    assert {name: detail[name] for name in listed} == listed
    assert detail["headers"]["svix-id"] == "msg_1"
    assert '"ada@example.org"' in detail["body"]
    assert detail["body_encoding"] == "text"


async def test_a_body_that_is_no_text_and_one_that_is_gone(root: httpx.AsyncClient, owner: Any) -> None:
    event_id = await waiting_event(owner)
    await owner.execute("UPDATE webhook_events SET body = '\\xff00'")
    detail = await look(root, f"/{event_id}")
    assert (base64.b64decode(detail["body"]), detail["body_encoding"]) == (b"\xff\x00", "base64")
    await owner.execute("UPDATE webhook_events SET body = NULL, status = 'ignored'")
    detail = await look(root, f"/{event_id}")
    assert (detail["body"], detail["body_encoding"]) == (None, None)


async def test_filters_and_pages_newest_first(root: httpx.AsyncClient, owner: Any) -> None:
    made = [await waiting_event(owner, source="shop" if n % 2 else "clerk", age=f"{10 - n} hours") for n in range(7)]
    await owner.execute("UPDATE webhook_events SET status = 'applied' WHERE id = ANY($1)", made[:3])
    newest_first = [str(each) for each in reversed(made)]

    async def found(**query: Any) -> list[str]:
        return [event["id"] for event in (await look(root, **query))["data"]]

    assert await found() == newest_first
    assert await found(status="received") == newest_first[:4]
    assert await found(source="shop") == newest_first[1::2]
    assert await found(source="shop", status="applied") == [str(made[1])]
    assert await found(source="kie") == []
    seen = list[str]()
    query: dict[str, Any] = {"limit": 3}
    for _ in range(3):
        page = await look(root, **query)
        seen += [event["id"] for event in page["data"]]
        query["cursor"] = page["next_cursor"]
        await waiting_event(owner)  # what comes meanwhile is on no later page
    assert (seen, page["next_cursor"]) == (newest_first, None)


@pytest.mark.parametrize(
    ("query", "pointer"),
    [
        ({"status": "failed"}, "/status"),
        ({"limit": "0"}, "/limit"),
        ({"limit": "101"}, "/limit"),
        ({"cursor": "nonsense"}, "/cursor"),
        ({"sauce": "clerk"}, "/sauce"),
    ],
)
async def test_what_cannot_be_asked(root: httpx.AsyncClient, query: dict[str, str], pointer: str) -> None:
    answer = await root.get("/v1/admin/webhooks", params=query)
    assert [error["pointer"] for error in problem(answer, 422, "validation_failed")["errors"]] == [pointer]


async def test_a_replay_changes_nothing_that_the_event_has_changed(
    clerk: Clerk, root: httpx.AsyncClient, owner: Any, db: Database
) -> None:
    await clerk.tell(user_event("user.created"), event_id="msg_1")
    await clerk.tell(user_event("user.updated", at=BORN + 1, first_name="Augusta"), event_id="msg_2")
    before = await owner.fetch("SELECT * FROM users ORDER BY id")
    event_id = await id_of(owner, "msg_1")
    answers = await asyncio.gather(*(act(root, event_id, "replay") for _ in range(4)))
    assert [(one.json()["outcome"], one.json()["status"]) for one in answers] == [("ignored", "applied")] * 4
    assert (await look(root, f"/{event_id}"))["attempts"] == 5
    assert await owner.fetch("SELECT * FROM users ORDER BY id") == before
    assert await owner.fetchval("SELECT count(*) FROM ledger_entries") == 1
    assert await lines(owner) == [("replay_webhook", WHY, None, "msg_1", "ignored")] * 4
    assert await verdict(db) == {}


async def test_a_replayed_deletion_is_heeded_at_once(
    clerk: Clerk, root: httpx.AsyncClient, app: tuple[Clerk, ClientFor], issuer: JwksStub, owner: Any
) -> None:
    signed_in = app[1](issuer.mint())
    assert (await signed_in.get("/v1/me")).status_code == 200  # and is remembered now
    await owner.execute("ALTER TABLE users ADD CONSTRAINT shut CHECK (deleted_at IS NULL)")
    assert (await clerk.send(deleted_event(), event_id="msg_1")).status_code == 500
    await owner.execute("ALTER TABLE users DROP CONSTRAINT shut")
    assert (await act(root, await id_of(owner, "msg_1"), "replay")).json()["outcome"] == "applied"
    problem(await signed_in.get("/v1/me"), 401, "unauthenticated")


async def test_a_replay_that_fails_leaves_no_line_but_a_reason(
    clerk: Clerk, root: httpx.AsyncClient, owner: Any
) -> None:
    await owner.execute("ALTER TABLE accounts ADD CONSTRAINT shut CHECK (false) NOT VALID")
    assert (await clerk.send(user_event("user.created"), event_id="msg_1")).status_code == 500
    event_id = await id_of(owner, "msg_1")
    problem(await act(root, event_id, "replay"), 500, "internal")
    detail = await look(root, f"/{event_id}")
    assert (detail["status"], detail["attempts"], detail["error"]) == ("received", 2, "IntegrityError 23514")
    assert (await lines(owner), await calls(owner)) == ([], [event_id])


async def test_what_cannot_be_replayed(clerk: Clerk, root: httpx.AsyncClient, owner: Any) -> None:
    await clerk.tell(deleted_event(), event_id="msg_1")
    erased, not_set_up = await id_of(owner, "msg_1"), await waiting_event(owner, source="shop")
    for event_id in (erased, not_set_up):
        problem(await act(root, event_id, "replay"), 409, "not_replayable")
    for what in ("replay", "dismiss"):
        problem(await act(root, new_id(), what), 404, "not_found")
    problem(await root.get(f"/v1/admin/webhooks/{new_id()}"), 404, "not_found")
    assert await lines(owner) == []


async def test_an_event_is_given_up_once(clerk: Clerk, root: httpx.AsyncClient, owner: Any) -> None:
    event = user_event("user.created")
    assert (await clerk.send({**event, "data": []}, event_id="msg_1")).status_code == 422
    event_id = await id_of(owner, "msg_1")
    assert await calls(owner) == [event_id]
    answers = await asyncio.gather(*(act(root, event_id, "dismiss") for _ in range(3)))
    assert sorted(answer.status_code for answer in answers) == [200, 409, 409]
    detail = await look(root, f"/{event_id}")
    assert (detail["status"], detail["error"].split(";")[0]) == ("ignored", "ValidationError")
    assert await calls(owner) == []
    assert await clerk.tell(event, event_id="msg_1") == "replayed"
    problem(await act(root, event_id, "dismiss"), 409, "already_applied")
    assert await lines(owner) == [("dismiss_webhook", WHY, None, "msg_1", None)]


async def test_the_log_shows_acts_that_are_done_to_nobody(clerk: Clerk, root: httpx.AsyncClient, owner: Any) -> None:
    await clerk.tell(user_event("user.created"), event_id="msg_1")
    assert (await act(root, await id_of(owner, "msg_1"), "replay")).status_code == 200
    [line] = (await root.get("/v1/admin/log", params={"action": "replay_webhook"})).json()["data"]
    assert (line["user"], line["generation_id"], line["reason"]) == (None, None, WHY)
    assert line["details"] == {"source": "clerk", "event_id": "msg_1", "type": "user.created", "outcome": "ignored"}
