"""The contract that clients are generated from, and what every response carries."""

import re
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest

from tallyframe.settings import Settings
from tests.conftest import serving
from tests.support.cast import Member
from tests.support.remains import problem

PROBLEM_TYPE = "application/problem+json"
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
async def document(anybody: httpx.AsyncClient) -> dict[str, Any]:
    answer = await anybody.get("/openapi.json")
    assert answer.status_code == 200
    found: dict[str, Any] = answer.json()
    return found


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert method in METHODS
            yield f"{method} {path}", operation


def references(node: Any) -> Iterator[str]:
    """Find every $ref, wherever it is."""
    if isinstance(node, dict):
        yield from (value for name, value in node.items() if name == "$ref")
        node = list(node.values())
    if isinstance(node, list):
        for child in node:
            yield from references(child)


def resolved(document: dict[str, Any], reference: str) -> Any:
    assert reference.startswith("#/"), reference
    node: Any = document
    for part in reference[2:].split("/"):
        assert part in node, f"{reference} leads nowhere"
        node = node[part]
    return node


async def test_it_is_openapi_3_1_and_hangs_together(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["title"] == "Tallyframe"
    assert document["info"]["version"]
    found = set(references(document))
    assert len(found) >= 10
    for reference in found:
        assert resolved(document, reference), reference
    used = {reference.rsplit("/", 1)[-1] for reference in found}
    models = set(document["components"]["schemas"])
    assert models <= used, f"models that nothing uses: {models - used}"
    assert "ValidationError" not in str(document)


async def test_every_operation_is_told_in_full(document: dict[str, Any]) -> None:
    ids = [operation["operationId"] for _, operation in operations(document)]
    assert len(set(ids)) == len(ids)
    for name, operation in operations(document):
        problems = [
            response["content"][PROBLEM_TYPE]["schema"]
            for response in operation["responses"].values()
            if PROBLEM_TYPE in response.get("content", {})
        ]
        assert problems, f"{name} says nothing of errors"
        assert all(set(references(schema)) == {"#/components/schemas/Problem"} for schema in problems), name
        assert operation.get("summary") or operation.get("description"), name
        path_names = set(re.findall(r"{(\w+)}", name))
        assert {item["name"] for item in operation.get("parameters", []) if item["in"] == "path"} == path_names, name
        good = [response for status, response in operation["responses"].items() if status.startswith("2")]
        assert good, name
    problem_model = document["components"]["schemas"]["Problem"]
    assert set(problem_model["required"]) == {"type", "title", "status", "detail", "code", "request_id"}


async def test_its_models_have_names_of_their_own_and_limits_are_keywords_of_json_schema(
    document: dict[str, Any],
) -> None:
    assert [name for name in document["components"]["schemas"] if "__" in name] == []
    for model in ("NewProject", "NewVideo"):
        [seconds, _] = document["components"]["schemas"][model]["properties"]["duration_seconds"]["anyOf"]
        assert seconds == {"type": "integer", "minimum": 1}


async def test_orders_are_told_as_json_and_as_form(document: dict[str, Any]) -> None:
    order = document["paths"]["/v1/projects"]["post"]
    content = order["requestBody"]["content"]
    assert set(content) == {"application/json", "multipart/form-data"}
    assert order["requestBody"]["required"] is True
    json_schema = resolved(document, content["application/json"]["schema"]["$ref"])
    form_schema = content["multipart/form-data"]["schema"]
    if "$ref" in form_schema:
        form_schema = resolved(document, form_schema["$ref"])
    assert set(json_schema["properties"]) == set(form_schema["properties"])
    assert json_schema["additionalProperties"] is False
    assert form_schema["properties"]["images"]["items"]["format"] == "binary"
    # A prompt_id can stand in for the prompt, in both forms.
    assert json_schema["required"] == form_schema["required"] == ["kind"]
    assert order["responses"]["202"]["content"]["application/json"]["schema"]["$ref"].endswith("/Project")
    upload = document["paths"]["/v1/assets"]["post"]["requestBody"]["content"]
    assert set(upload) == {"multipart/form-data"}


@pytest.mark.parametrize("model", ["NewProject", "NewGeneration"])
async def test_metadata_is_a_map_of_texts(document: dict[str, Any], model: str) -> None:
    metadata, null = document["components"]["schemas"][model]["properties"]["metadata"]["anyOf"]
    assert null == {"type": "null"}
    values = metadata["additionalProperties"]
    assert (values["type"], values["maxLength"], metadata["maxProperties"]) == ("string", 512, 16)
    assert "patternProperties" not in metadata


async def test_who_needs_to_sign_in_is_told(document: dict[str, Any], anybody: httpx.AsyncClient) -> None:
    schemes = document["components"]["securitySchemes"]
    [name] = schemes
    assert (schemes[name]["type"], schemes[name]["scheme"]) == ("http", "bearer")
    secured = 0
    for operation_name, operation in operations(document):
        method, path = operation_name.split(" ")
        filled = re.sub(r"{\w+}", str(uuid4()), path)
        asked = await anybody.request(method.upper(), filled, json={} if method == "post" else None)
        needs = asked.status_code == 401
        assert bool(operation.get("security")) == needs, operation_name
        secured += needs
    assert secured >= 14


async def test_the_docs_page_is_there(anybody: httpx.AsyncClient) -> None:
    answer = await anybody.get("/docs")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/html")
    assert "openapi.json" in answer.text


async def test_request_ids(anybody: httpx.AsyncClient, alice: Member) -> None:
    for good in ("abc", "A-b_9", "x" * 64, str(uuid4())):
        for path in ("/healthz", "/v1/me", "/nothing"):
            assert (await anybody.get(path, headers={"X-Request-Id": good})).headers["x-request-id"] == good
    bad: list[str | bytes] = [
        "",
        "x" * 65,
        "a b",
        "a;b",
        "<script>",
        "é".encode("latin-1"),
        b"\xff",
        "${jndi:ldap://a}",
        "a/b",
        "a\tb",
    ]
    seen = set()
    for asked in bad:
        raw = asked if isinstance(asked, bytes) else asked.encode()
        answer = await anybody.get("/v1/me", headers={b"X-Request-Id": raw})
        given = answer.headers["x-request-id"]
        assert UUID(given).version == 7
        assert problem(answer, 401, "unauthenticated")["request_id"] == given
        seen.add(given)
    for answer in (await alice.http.get("/v1/me"), await alice.http.get("/v1/explore")):
        seen.add(answer.headers["x-request-id"])
    assert len(seen) == len(bad) + 2


async def test_answers_are_not_kept_or_framed(alice: Member, anybody: httpx.AsyncClient) -> None:
    for answer in (
        await alice.http.get("/v1/me"),
        await alice.http.get("/v1/projects"),
        await alice.http.post("/v1/projects", json={}),
        await anybody.get("/v1/me"),
    ):
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] == "no-referrer"


async def test_only_named_origins_may_read(settings: Settings, anybody: httpx.AsyncClient) -> None:
    ours = "https://app.example.com"
    async with serving(settings.replaced(cors_origins=(ours, "http://localhost:3000"))) as client_for:
        client = client_for(None)
        strangers = [f"{ours}.evil.com", f"{ours}:8443", "http://app.example.com", "https://evil.com", "null", "*"]
        strangers += ["https://sub.app.example.com", "HTTPS://APP.EXAMPLE.COM", f"{ours}/", "http://localhost:3001"]
        preflight = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
        for origin in (ours, "http://localhost:3000"):
            plain = await client.get("/v1/explore", headers={"Origin": origin})
            asked = await client.options("/v1/projects", headers={"Origin": origin, **preflight})
            assert (plain.status_code, asked.status_code) == (200, 200)
            for answer in (plain, asked):
                assert answer.headers["access-control-allow-origin"] == origin
                assert "origin" in answer.headers["vary"].lower()
                assert "access-control-allow-credentials" not in answer.headers
            exposed = plain.headers["access-control-expose-headers"].lower()
            assert all(name in exposed for name in ("etag", "location", "retry-after", "x-request-id"))
        for origin in strangers:
            plain = await client.get("/v1/explore", headers={"Origin": origin})
            asked = await client.options("/v1/projects", headers={"Origin": origin, **preflight})
            problem(asked, 400, "origin_not_allowed", origin)
            for answer in (plain, asked):
                assert "access-control-allow-origin" not in answer.headers, origin
        refused = await client.get("/v1/me", headers={"Origin": ours})
        assert problem(refused, 401, "unauthenticated")
        assert refused.headers["access-control-allow-origin"] == ours  # so that a page can read what is wrong
    unset = await anybody.get("/v1/explore", headers={"Origin": ours})
    assert "access-control-allow-origin" not in unset.headers
