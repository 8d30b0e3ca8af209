"""What a user reads about a bad request is in our words and in terms of JSON, names the field, and is complete."""

import json
import re
from collections.abc import Iterator
from typing import Any, get_args
from uuid import uuid4

import httpx
import pytest
from pydantic_core import PydanticKnownError
from pydantic_core.core_schema import ErrorType

from tallyframe.api import words
from tallyframe.api.problems import MOST_TOLD
from tests.conftest import ClientFor, enroll
from tests.support.cast import Member
from tests.support.drawn import picture
from tests.support.remains import World, problem

#: How pydantic and the framework speak, and what Python calls things.
THEIRS = re.compile(
    r"Value error|Assertion failed|[Ii]nput should|[Ff]ield required|Extra inputs|valid (string|integer|dict|UUID)"
    r"|\bctx\b|pydantic|\bstr\b|\bdict(ionary)?\b|\blist\b|\btuple\b|\bint(eger)?\b|\bfloat\b|\bbool(ean)?\b|\bNone\b"
    r"|\bTrue\b|\bFalse\b|Maximum number|JSON decode|unable to parse|instance of|object at 0x|greater than"
)
VALUES: list[Any] = [None, True, 0, -1, 1.5, 10**30, "", "a", "\x00", "a" * 5000, [], ["a"], [None] * 60, {}, {"a": 1}]


def bad_bodies(schema: dict[str, Any], whole: dict[str, Any]) -> Iterator[tuple[str, Any]]:
    """Each field of a body with each value, and the body itself; with the name of the field."""
    yield from (("", value) for value in VALUES)
    for name in schema.get("properties", {}):
        yield from ((name, {**whole, name: value}) for value in VALUES)
    yield "other", {**whole, "other": 1}
    yield from ((name, {other: whole[other] for other in whole if other != name}) for name in whole)


GOOD: dict[str, dict[str, Any]] = {
    "NewProject": {"kind": "nothing", "prompt": "a"},
    "NewGeneration": {"operation": "nothing", "input": {}},
    "NewAdjustment": {"amount": -(10**9), "reason": "a"},
    "Resolution": {"reason": "a", "outcome": "settled"},
    **{name: {"reason": "a"} for name in ("Because", "Retry")},
}


async def test_no_field_is_answered_in_the_words_of_a_library(
    anybody: httpx.AsyncClient, db: Any, client_for: ClientFor, world: World
) -> None:
    admin = await enroll(db, client_for, "admin@example.com", 0, admin=True)
    document, refused = (await anybody.get("/openapi.json")).json(), 0
    before = await world.remains()
    for path, how in document["paths"].items():
        content = how.get("post", {}).get("requestBody", {}).get("content", {})
        schema = content.get("application/json", {}).get("schema", {})
        model = next(iter(re.findall(r"(\w+)\"", json.dumps(schema).partition("#/components/schemas/")[2])), "")
        if path.startswith("/v1/webhooks") or model == "NewApiKey":
            continue
        address = re.sub(r"{\w+}", str(uuid4()), path)
        for field, body in bad_bodies(document["components"]["schemas"].get(model, {}), GOOD.get(model, {})):
            answer = await admin.http.post(
                address, content=json.dumps(body), headers={"Content-Type": "application/json"}
            )
            assert not THEIRS.search(answer.text), (path, body, answer.text)
            if answer.status_code == 422:
                refused += 1
                errors = answer.json()["errors"]
                known = [error for error in errors if "no operation 'nothing'" not in error["detail"]]
                assert all(field in error["pointer"] for error in known) or not isinstance(body, dict), answer.text
                assert all(error["detail"] in answer.json()["detail"] for error in errors)
    assert refused > 500
    assert await world.remains() == before


async def test_no_parameter_is_answered_in_the_words_of_a_library(
    anybody: httpx.AsyncClient, db: Any, client_for: ClientFor
) -> None:
    admin = await enroll(db, client_for, "admin@example.com", 0, admin=True)
    refused = 0
    for path, how in (await anybody.get("/openapi.json")).json()["paths"].items():
        if "get" not in how:
            continue
        for parameter in how["get"].get("parameters", []):
            name, place = parameter["name"], parameter["in"]
            for value in ("", "a", "9" * 30, "%00", "a" * 400):
                given = path.replace(f"{{{name}}}", value or "-") if place == "path" else path
                address = re.sub(r"{\w+}", str(uuid4()), given) + (f"?{name}={value}" if place == "query" else "")
                answer = await admin.http.get(address)
                assert not THEIRS.search(answer.text.partition('"data"')[0]) or answer.status_code < 300, answer.text
                if answer.status_code == 422:
                    refused += 1
                    assert {error["pointer"] for error in answer.json()["errors"]} == {f"/{name}"}, answer.text
    assert refused > 80


CTX: dict[str, Any] = {
    "error": "text", "min_length": 1, "max_length": 1, "actual_length": 2, "field_type": "List", "pattern": "a",
    "gt": 1,    "ge": 1, "lt": 1, "le": 1, "multiple_of": 2, "expected": "'a'", "expected_version": 4, "max_digits": 1,
    "decimal_places": 1, "whole_digits": 1, "tz_expected": 1, "tz_actual": 2, "class": "A", "class_name": "A",
    "discriminator": "kind", "tag": "a", "expected_tags": "b", "expected_schemes": "'https'", "attribute": "a",
    "encoding": "utf-8", "encoding_error": "e", "method_name": "a", "mapping_type": "a", "function_name": "a",
}  # fmt: skip


@pytest.mark.parametrize("kind", [*get_args(ErrorType), "an_own_one"])
def test_every_error_of_pydantic_has_words_of_ours(kind: str) -> None:
    said = words.said({"type": kind, "loc": ("body", "a"), "msg": "an own word", "ctx": CTX})
    assert said
    assert "{" not in said
    if kind in {"value_error", "assertion_error"}:
        assert said == "text"  # a validator's words are ours already
    elif kind == "an_own_one":
        assert said == "an own word"
    else:
        assert said != PydanticKnownError(kind, CTX).message()  # type: ignore[arg-type]
        assert not THEIRS.search(said)


async def test_every_problem_is_told_up_to_a_bound(alice: Member, world: World) -> None:
    before = await world.remains()
    few = {"kind": 1, "prompt": "", "aspect_ratio": "2:1", "duration_seconds": 0, "images": 1, "metadata": {"Cart": 1}}
    said = problem(await alice.http.post("/v1/projects", json=few), 422, "validation_failed")
    names = {f"/{name}" for name in few} - {"/metadata"} | {"/metadata/Cart"}
    assert {error["pointer"] for error in said["errors"]} == names
    assert all(f"{name}: " in said["detail"] for name in names)
    many = {"kind": "image", **{f"field{number}": 1 for number in range(MOST_TOLD + 10)}}
    said = problem(await alice.http.post("/v1/projects", json=many), 422, "validation_failed")
    assert len(said["errors"]) == MOST_TOLD
    assert said["detail"].endswith("; and 10 more")
    assert await world.remains() == before


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"kind": "image"}, "/prompt"),
        ({"kind": "image", "prompt": "a", "images": [{"url": "https://a.example"}, {"asset_id": 5}]}, "/images/1"),
        ({"kind": "image", "prompt": "a", "metadata": {"Resolution": 5}}, "/metadata/Resolution"),
        ({"kind": "image", "prompt": "a", "metadata": {"a/b~": 5}}, "/metadata/a~1b~0"),
        ({"kind": "image", "prompt": "a", "images": [{"asset_id": str(uuid4())}]}, "/images/0/asset_id"),
    ],
)
async def test_the_pointer_names_the_field(alice: Member, body: dict[str, Any], pointer: str) -> None:
    answer = await alice.http.post("/v1/projects", json=body)
    assert all(error["pointer"].startswith(pointer) for error in answer.json()["errors"]), answer.text
    assert answer.json()["errors"]


async def test_a_refused_picture_is_named(alice: Member, world: World) -> None:
    before, good = await world.remains(), picture()
    bad = {
        "cut.png": good[:50],
        "notes.txt": b"notes",
        "big.png": good + bytes(6 * 2**20),
        "../../y.gif": b"GIF89a",
    }
    for name, data in bad.items():
        shown = name.rsplit("/", 1)[-1]
        files = [("images", ("good.png", good)), ("images", (name, data)), ("images", ("good.png", good))]
        order = await alice.http.post("/v1/projects", data={"kind": "image", "prompt": "a"}, files=files)
        asset = await alice.http.post("/v1/assets", files={"file": (name, data)})
        for answer, pointer in ((order, "/images/1"), (asset, "/file")):
            said = problem(answer, answer.status_code, answer.json()["code"])
            assert said["detail"].startswith(f"{pointer}: {shown}: "), said
            [error] = said["errors"]
            assert (error["pointer"], error["detail"].split(": ")[0]) == (pointer, shown)
    assert await world.remains() == before


async def test_what_has_ended_is_at_its_last_step(alice: Member, bench: Any, db: Any, client_for: ClientFor) -> None:
    admin = await enroll(db, client_for, "admin@example.com", 0, admin=True)
    failed, canceled = await alice.order("a [fail:content_policy]"), await alice.order("b")
    await alice.http.post(f"/v1/projects/{canceled['id']}/cancel")
    await bench.drain()
    for project, status in ((failed, "failed"), (canceled, "canceled")):
        made = project["generation"]["id"]
        shown = [
            (await alice.http.get(f"/v1/generations/{made}")).json(),
            (await alice.project(project["id"]))["generation"],
        ]
        for generation in [*shown, (await admin.http.get(f"/v1/admin/generations/{made}")).json()]:
            assert (generation["status"], generation["step"]) == (status, "completed")
