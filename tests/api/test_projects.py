"""Orders in each form, and the shapes that come back: exactly the contract's."""

import hashlib
import io
from dataclasses import replace
from typing import Any
from uuid import UUID

import pytest
from PIL import Image

from tallyframe.errors import ValidationFailed
from tests.support.cast import Member
from tests.support.drawn import GREEN, RED, picture
from tests.support.quick import make_all
from tests.support.remains import World, problem
from tests.support.working import Bench

PROJECT = {
    "id",
    "kind",
    "status",
    "status_sequence",
    "is_generating",
    "is_published",
    "prompt",
    "prompt_id",
    "aspect_ratio",
    "images",
    "image_url",
    "media",
    "video_url",
    "error",
    "generation",
    "metadata",
    "created_at",
    "updated_at",
}
GENERATION = {
    "id",
    "project_id",
    "operation",
    "status",
    "step",
    "attempt",
    "provider",
    "model",
    "credits",
    "error",
    "outputs",
    "output",
    "metadata",
    "created_at",
    "started_at",
    "finished_at",
}
ASSET = {
    "id",
    "url",
    "download_url",
    "content_type",
    "bytes",
    "sha256",
    "width",
    "height",
    "duration_seconds",
}
ERROR = {"code", "message", "fault", "retryable"}
BLUE, GREY = (0, 0, 255), (128, 128, 128)


def check_shape(project: dict[str, Any]) -> None:
    """Check every key of the project and of all that is in it."""
    generation = project["generation"]
    assert set(project) == PROJECT
    assert set(generation) == GENERATION
    assert set(generation["credits"]) == {"quoted", "charged", "refunded"}
    for image in project["images"]:
        assert set(image) == ASSET
    for output in generation["outputs"]:
        assert set(output) == {*ASSET, "role", "position"}
    for error in (project["error"], generation["error"]):
        assert error is None or set(error) == ERROR
    for name in ("id", "generation"):
        assert UUID(project[name] if name == "id" else generation["id"]).version == 7
    for time in (project["created_at"], project["updated_at"], generation["created_at"]):
        assert time.endswith(("Z", "+00:00"))


async def test_json_and_forms_give_the_same_project(alice: Member, bench: Bench) -> None:
    order = {"kind": "video", "prompt": "  a cup  ", "aspect_ratio": "9:16", "duration_seconds": "2"}
    by_json = await alice.http.post("/v1/projects", json={**order, "duration_seconds": 2, "metadata": {"k": "v"}})
    by_form = await alice.http.post(
        "/v1/projects", data={**order, "metadata": '{"k": "v"}'}, files={"images": picture()}
    )
    for answer, pictures in ((by_json, 0), (by_form, 1)):
        assert answer.status_code == 202, answer.text
        project = answer.json()
        check_shape(project)
        assert len(project["images"]) == pictures
        expected = {
            "kind": "video",
            "status": "pending",
            "is_generating": True,
            "is_published": False,
            "prompt": "a cup",
            "prompt_id": None,
            "aspect_ratio": "9:16",
            "image_url": None,
            "media": [],
            "video_url": None,
            "error": None,
            "metadata": {"k": "v"},
        }
        assert {name: project[name] for name in expected} == expected
        assert answer.headers["location"] == f"/v1/projects/{project['id']}"
        assert answer.headers["etag"]
        assert (await alice.http.get(answer.headers["location"])).json() == project
    await make_all(bench)
    done = await alice.project(by_form.json()["id"])
    check_shape(done)
    assert (done["status"], done["generation"]["operation"]) == ("draft", "video")
    assert done["video_url"] == done["generation"]["outputs"][0]["url"]
    assert done["generation"]["provider"] == "offline"
    assert done["generation"]["started_at"] <= done["generation"]["finished_at"]


async def test_a_failed_project_says_why_in_the_contracts_shape(alice: Member, bench: Bench) -> None:
    await alice.order("[fail:content_policy] a cup")
    await bench.drain()
    project = (await alice.http.get("/v1/projects")).json()["data"][0]
    check_shape(project)
    assert project["error"] == project["generation"]["error"]
    assert (project["error"]["fault"], project["error"]["retryable"]) == ("user", False)


async def test_pictures_in_every_way_and_in_their_order(alice: Member, bench: Bench, owner: Any) -> None:
    colours = [RED, GREEN, BLUE, GREY]
    ids = []
    for colour in (RED, GREEN):
        answer = await alice.http.post("/v1/assets", files={"file": picture(colour)})
        assert answer.status_code == 201, answer.text
        assert set(answer.json()) == ASSET
        ids.append(answer.json()["id"])
    fetched: list[tuple[str, str]] = []

    async def fetch(user_id: UUID, url: str, pointer: str) -> bytes:
        fetched.append((url, pointer))
        if "broken" in url:
            raise ValidationFailed("The picture's address could not be fetched.", pointer=pointer)
        return picture(BLUE if "blue" in url else GREY)

    app = alice.http._transport.app  # type: ignore[attr-defined]  # ASGITransport's
    app.state.services = replace(app.state.services, fetch=fetch)

    urls = [{"url": "https://example.com/blue.png"}, {"url": "https://example.com/grey.png"}]
    mixed = [urls[0], {"asset_id": ids[1]}, urls[1], {"asset_id": ids[0]}]
    project = await alice.order(images=mixed)
    assert fetched == [(urls[0]["url"], "/images/0/url"), (urls[1]["url"], "/images/2/url")]
    expected = [picture(colour) for colour in (BLUE, GREEN, GREY, RED)]
    provider = await make_all(bench)
    stored = [(await alice.http.get(image["url"])).content for image in project["images"]]
    assert provider.given == stored
    assert [hashlib.sha256(data).hexdigest() for data in stored] == [image["sha256"] for image in project["images"]]
    assert [pixels(data) for data in stored] == [pixels(data) for data in expected]
    assert [project["images"][at]["id"] for at in (1, 3)] == [ids[1], ids[0]]

    files = [("images", (f"{n}.png", picture(colour))) for n, colour in enumerate(colours)]
    answer = await alice.http.post("/v1/projects", data={"kind": "image", "prompt": "a"}, files=files)
    provider = await make_all(bench)
    assert [pixels(data) for data in provider.given] == [pixels(picture(colour)) for colour in colours]
    assert [image["id"] for image in (await alice.project(answer.json()["id"]))["images"]] == [
        image["id"] for image in answer.json()["images"]
    ]
    twice = await alice.order(images=[{"asset_id": ids[0]}] * 2)
    assert [image["id"] for image in twice["images"]] == [ids[0]] * 2


async def test_a_url_that_fails_takes_the_pictures_before_it_away(alice: Member, world: World) -> None:
    async def fetch(user_id: UUID, url: str, pointer: str) -> bytes:
        if "broken" in url:
            raise ValidationFailed("The picture's address could not be fetched.", pointer=pointer)
        return picture(BLUE)

    app = alice.http._transport.app  # type: ignore[attr-defined]  # ASGITransport's
    app.state.services = replace(app.state.services, fetch=fetch)
    images = [{"url": "https://example.com/blue.png"}, {"url": "https://example.com/broken.png"}]
    before = await world.remains()
    order = {"kind": "image", "prompt": "a", "images": images}
    refused = problem(await alice.http.post("/v1/projects", json=order), 422, "validation_failed")
    assert refused["errors"][0]["pointer"] == "/images/1/url"
    assert await world.remains() == before


def pixels(data: bytes) -> tuple[int, ...]:
    with Image.open(io.BytesIO(data)) as image:
        found = image.convert("RGB").getpixel((0, 0))
    assert isinstance(found, tuple)
    return tuple(int(part) for part in found)


async def test_lists_filter_and_page(rich: Member, bench: Bench) -> None:
    films = [(await rich.order(f"film {n}", kind="video"))["id"] for n in range(2)]
    cups = [(await rich.order(f"cup {n}"))["id"] for n in range(3)]
    await make_all(bench)
    await rich.http.post(f"/v1/projects/{cups[0]}/publish")
    await rich.order("[fail:content_policy] cup")
    await bench.drain()
    pending = (await rich.order("cup"))["id"]

    every = [project["id"] for project in (await rich.http.get("/v1/projects")).json()["data"]]
    assert len(every) == 7
    assert every == sorted(every, reverse=True)
    assert every[0] == pending

    async def found(query: str) -> list[str]:
        answer = (await rich.http.get(f"/v1/projects?{query}")).json()
        assert answer["next_cursor"] is None
        return [project["id"] for project in answer["data"]]

    assert await found("kind=video") == films[::-1]
    assert await found("status=published") == [cups[0]]
    assert await found("status=draft") == [*cups[:0:-1], *films[::-1]]
    assert await found("status=draft&kind=image") == cups[:0:-1]
    assert await found("status=pending") == [pending]
    assert len(await found("status=failed")) == 1
    assert await found("status=canceled") == []
    assert await found("limit=7") == every  # a full last page isn't followed by an empty one

    paged: list[str] = []
    cursor = ""
    for number in range(4):
        page = (await rich.http.get(f"/v1/projects?limit=2{cursor}")).json()
        paged += [project["id"] for project in page["data"]]
        cursor = f"&cursor={page['next_cursor']}"
        assert (page["next_cursor"] is None) == (number == 3)
        await rich.order("meanwhile")  # what is new shows on the first page only
    assert paged == every
    filtered = (await rich.http.get("/v1/projects?status=draft&limit=2")).json()
    rest = (await rich.http.get(f"/v1/projects?status=draft&limit=2&cursor={filtered['next_cursor']}")).json()
    both = [project["id"] for project in (*filtered["data"], *rest["data"])]
    assert both == [*cups[:0:-1], *films[::-1]]


@pytest.mark.parametrize("ending", ["draft", "failed", "canceled"])
async def test_polling_with_an_etag(alice: Member, bench: Bench, ending: str) -> None:
    project = await alice.order("[fail:content_policy] cup" if ending == "failed" else "cup")
    path = f"/v1/projects/{project['id']}"
    while_pending: list[str] = []

    async def status(tag: str) -> int:
        answer = await alice.http.get(path, headers={"If-None-Match": tag})
        if answer.status_code == 304:
            assert answer.content == b""
            current = (await alice.http.get(path)).headers["etag"]
            assert answer.headers["etag"] == current, tag
            assert ("retry-after" in answer.headers) == (tag in while_pending)
        return answer.status_code

    pending = await alice.http.get(path)
    etag = pending.headers["etag"]
    assert etag.startswith('"')
    assert pending.headers["retry-after"] == "2"
    assert "private" in pending.headers["cache-control"]
    while_pending += [etag, f"W/{etag}", f'"other", {etag}', f'W/"other",W/{etag}', "*"]
    for fresh in while_pending:
        assert await status(fresh) == 304, fresh
    for stale in ('"other"', etag.strip('"'), etag.replace('"', "'"), '"*"'):
        assert await status(stale) == 200, stale

    if ending == "draft":
        await make_all(bench)
    elif ending == "failed":
        await bench.drain()
    else:
        await alice.http.post(f"{path}/cancel")
    assert await status(etag) == 200
    done = await alice.http.get(path)
    assert done.json()["status"] == ending
    assert done.headers["etag"] != etag
    assert "retry-after" not in done.headers
    assert await status(done.headers["etag"]) == 304
