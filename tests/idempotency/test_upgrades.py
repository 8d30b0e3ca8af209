"""A request that comes again after an upgrade is still the same request, and is paid once."""

from typing import Any

import pytest
from pydantic import BaseModel, create_model

from tallyframe.api import bodies, incoming, schemas, views
from tallyframe.api.dependencies import canonical
from tallyframe.generations import queries
from tests.conftest import ClientFor, enroll
from tests.idempotency.test_once import ORDER, ask, count, replayed
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.remains import problem
from tests.support.working import Bench

#: What any version before one that knows another field says of these requests.
BODIES: list[tuple[type[BaseModel], dict[str, Any]]] = [
    (incoming.NewProject, ORDER),
    (incoming.NewProject, {**ORDER, "images": [{"url": "https://example.com/a.png"}]}),
    (incoming.NewVideo, {}),
    (incoming.NewApiKey, {}),
]


def newer(model: type[BaseModel]) -> Any:
    """The model of a later version, which takes one more field."""
    return create_model("Newer", __base__=model, seed=(int | None, None))


@pytest.mark.parametrize(("model", "body"), BODIES)
def test_a_new_field_changes_nothing_for_who_does_not_send_it(model: type[BaseModel], body: dict[str, Any]) -> None:
    assert canonical(newer(model).model_validate(body)) == canonical(model.model_validate(body)) == body
    assert canonical(newer(model).model_validate({**body, "seed": 1})) == {**body, "seed": 1}


async def test_an_order_sent_again_to_a_version_that_takes_more_is_paid_once(
    alice: Member, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = await ask(alice, "/v1/projects", json=ORDER)
    monkeypatch.setattr(bodies, "NewProject", newer(incoming.NewProject))
    again = await ask(alice, "/v1/projects", json=ORDER)
    assert (again.status_code, replayed(again), again.json()) == (202, True, first.json())
    problem(await ask(alice, "/v1/projects", json={**ORDER, "seed": 1}), 422, "idempotency_key_reused")
    assert await alice.available() == 15


async def test_a_default_that_is_spelt_out_says_nothing(alice: Member, db: Any, client_for: ClientFor) -> None:
    first = await ask(alice, "/v1/api-keys")
    again = await ask(alice, "/v1/api-keys", json={"name": "API key"})
    assert (replayed(again), again.json()["id"]) == (True, first.json()["id"])
    admin = await enroll(db, client_for, "admin@example.com", 0, admin=True)
    path, wanted = f"/v1/admin/users/{alice.user.id}/credits", {"amount": 5, "reason": "sorry"}
    answers = [await ask(admin, path, json=body) for body in (wanted, {**wanted, "reason": " sorry "})]
    assert [(answer.status_code, replayed(answer)) for answer in answers] == [(201, False), (201, True)]
    assert await alice.available() == 25


async def test_an_answer_that_lacks_what_is_now_always_said_is_made_anew(
    alice: Member, bench: Bench, owner: Any
) -> None:
    first = await ask(alice, "/v1/projects", json=ORDER)
    await owner.execute(
        "UPDATE idempotency_keys SET answer = answer - 'status_sequence'"
    )  # as an older version kept it
    await bench.drain()
    again = await ask(alice, "/v1/projects", json=ORDER)
    assert (again.status_code, replayed(again)) == (202, True), again.text
    assert again.json() == await alice.project(first.json()["id"])
    assert again.headers["location"] == first.headers["location"]
    assert (await count(owner, "projects"), await alice.available()) == (1, 15)


async def test_a_key_of_a_version_that_kept_the_projects_id_is_answered_and_forgotten_all_the_same(
    alice: Member, bench: Bench, owner: Any
) -> None:
    first = (await ask(alice, "/v1/projects", json=ORDER)).json()
    await owner.execute("UPDATE idempotency_keys SET answer = NULL, ref = $1", first["id"])
    again = await ask(alice, "/v1/projects", json=ORDER)
    assert (replayed(again), again.json()) == (True, first)
    await bench.drain()
    assert (await alice.http.delete(f"/v1/projects/{first['id']}")).status_code == 204
    assert await owner.fetchval("SELECT answer FROM idempotency_keys") == "null"
    problem(await ask(alice, "/v1/projects", json=ORDER), 404, "not_found")


async def test_an_api_key_whose_answer_is_made_anew_keeps_its_secret(alice: Member, owner: Any) -> None:
    first = (await ask(alice, "/v1/api-keys")).json()
    await owner.execute("UPDATE idempotency_keys SET answer = answer - 'name'")
    assert (await ask(alice, "/v1/api-keys")).json() == {**first, "secret": None}


async def test_an_answer_that_an_old_process_kept_in_between_is_made_anew(
    alice: Member, owner: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    ordered = queries.ordered

    async def late(*given: Any) -> queries.Row | None:
        found = await ordered(*given)
        await owner.execute("""UPDATE idempotency_keys SET answer = '{"kind": "image"}'""")  # while we look
        return found

    monkeypatch.setattr(queries, "ordered", late)
    # With a picture: then the answer is kept by a statement of its own.
    answer = await ask(alice, "/v1/projects", data={"kind": "image", "prompt": "a cup"}, files={"images": picture()})
    assert (answer.status_code, answer.json()["prompt"]) == (202, "a cup"), answer.text


@pytest.mark.parametrize("key", ["key-1", None])
async def test_what_is_paid_and_cannot_be_shown_is_our_fault(
    alice: Member, monkeypatch: pytest.MonkeyPatch, key: str | None
) -> None:
    def fails(*_: Any) -> schemas.Project:
        return schemas.Project.model_validate({"prompt": 5})

    order = {"data": {"kind": "image", "prompt": "a cup"}, "files": {"images": picture()}}
    with monkeypatch.context() as patched:
        patched.setattr(views, "project", fails)
        body = problem(await ask(alice, "/v1/projects", key, **order), 500, "internal")
        assert await alice.available() == 15
        refused = problem(await ask(alice, "/v1/projects", "another", json=ORDER), 500, "internal")
    assert "status_sequence" in body["detail"]
    assert "not ordered" in refused["detail"]
    assert await alice.available() == 15
    if key:
        assert replayed(await ask(alice, "/v1/projects", key, **order))
        assert await alice.available() == 15


@pytest.mark.parametrize("write", [str.upper, lambda text: text.replace("-", "")])
async def test_an_id_in_the_path_is_the_same_however_it_is_written(alice: Member, bench: Bench, write: Any) -> None:
    project, other = await alice.order(), await alice.order()
    await bench.drain()
    first = await ask(alice, f"/v1/projects/{project['id']}/regenerate")
    again = await ask(alice, f"/v1/projects/{write(project['id'])}/regenerate")
    assert (again.status_code, replayed(again), again.json()) == (202, True, first.json())
    problem(await ask(alice, f"/v1/projects/{other['id']}/regenerate"), 422, "idempotency_key_reused")
    problem(await ask(alice, f"/v1/projects/{project['id']}/video"), 422, "idempotency_key_reused")
    problem(await ask(alice, "/v1/projects/none/regenerate"), 422, "validation_failed")
