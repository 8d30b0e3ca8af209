"""'Try it out' in /docs, untouched: the example of each POST is accepted as it is, as JSON and as form."""

from typing import Any

import httpx
import pytest

from tests.conftest import ClientFor, enroll
from tests.support.cast import Member
from tests.support.working import Bench


def as_the_docs_page_fills_it(schema: dict[str, Any]) -> list[tuple[str, tuple[None, str]]]:
    """The parts of a form that nobody has typed into, as Swagger UI 5.32 sends them: the example of each field, else a
    value that it makes up. An empty list becomes an empty part."""
    made_up = {"integer": "0", "array": "string"}
    parts: list[tuple[str, tuple[None, str]]] = []
    for name, field in schema["properties"].items():
        value = field.get("example", field.get("default", made_up.get(field["type"], "string")))
        parts.append((name, (None, str(value or ""))))
    return parts


@pytest.fixture
async def admin(db: Any, client_for: ClientFor) -> Member:
    return await enroll(db, client_for, "admin@example.com", 1000, admin=True)


async def paths_of(rich: Member, bench: Bench, nobody: Member) -> dict[str, str]:
    """The address of each POST that has a JSON body, with things that are there for it."""
    drawn = await rich.order()
    failed = await rich.order("a [fail:content_policy]")
    await bench.drain()
    waiting, failed_id = await rich.order("b"), failed["generation"]["id"]
    return {
        "/v1/projects": "/v1/projects",
        "/v1/projects/{project_id}/video": f"/v1/projects/{drawn['id']}/video",
        "/v1/generations": "/v1/generations",
        "/v1/api-keys": "/v1/api-keys",
        "/v1/admin/users/{user_id}/credits": f"/v1/admin/users/{rich.user.id}/credits",
        "/v1/admin/users/{user_id}/delete": f"/v1/admin/users/{nobody.user.id}/delete",
        "/v1/admin/generations/{generation_id}/cancel": f"/v1/admin/generations/{waiting['generation']['id']}/cancel",
        "/v1/admin/generations/{generation_id}/retry": f"/v1/admin/generations/{failed_id}/retry",
    }


#: Needs a signature, a doubt, or an event of a webhook, which a fresh stack can't have.
NEED_MORE = {
    "/v1/webhooks/{source}",
    "/v1/admin/generations/{generation_id}/resolve",
    "/v1/admin/webhooks/{webhook_id}/replay",
    "/v1/admin/webhooks/{webhook_id}/dismiss",
}


async def test_each_example_is_accepted(
    admin: Member, rich: Member, bob: Member, bench: Bench, anybody: httpx.AsyncClient
) -> None:
    document = (await anybody.get("/openapi.json")).json()
    known = await paths_of(rich, bench, bob)
    posts = {path: how["post"] for path, how in document["paths"].items() if "requestBody" in how.get("post", {})}
    of_json = {path: post for path, post in posts.items() if "application/json" in post["requestBody"]["content"]}
    assert of_json.keys() - NEED_MORE == known.keys()
    for path, address in known.items():
        client = admin.http if "/admin/" in path else rich.http
        example = of_json[path]["requestBody"]["content"]["application/json"]["example"]
        answer = await client.post(address, json=example)
        assert str(answer.status_code) in of_json[path]["responses"], (path, answer.text)
        assert answer.status_code < 300, (path, answer.text)


async def test_the_form_that_nobody_has_typed_into_is_accepted(alice: Member, anybody: httpx.AsyncClient) -> None:
    document = (await anybody.get("/openapi.json")).json()
    content = document["paths"]["/v1/projects"]["post"]["requestBody"]["content"]
    parts = as_the_docs_page_fills_it(content["multipart/form-data"]["schema"])
    answer = await alice.http.post("/v1/projects", files=parts)
    assert answer.status_code == 202, answer.text
    project = answer.json()
    assert (project["images"], project["metadata"], project["prompt_id"]) == ([], {}, None)
    assert {name: project[name] for name in content["application/json"]["example"]} == content["application/json"][
        "example"
    ]
