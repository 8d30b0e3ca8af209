"""Forms as browsers, scripts and generated clients send them."""

import pytest

from tests.api.test_bodies import BOUNDARY, END, FIELDS, FILE, FORM, ORDER, PHOTO, part
from tests.support.cast import Member
from tests.support.remains import World, problem

BLANK_FILE = '; filename=""\r\nContent-Type: application/octet-stream'
BLOB = '; filename="blob"\r\nContent-Type: application/json'


@pytest.mark.parametrize("kind", ["image/png", "IMAGE/JPEG", "application/octet-stream", ""])
@pytest.mark.parametrize("size", [100, 100_000])
async def test_a_file_without_a_filename_is_told_so(alice: Member, world: World, kind: str, size: int) -> None:
    before = await world.remains()
    more = f"\r\nContent-Type: {kind}" if kind else ""
    for path, name, fields in (
        ("/v1/projects", "images", FIELDS),
        ("/v1/projects", "images[]", FIELDS),
        ("/v1/assets", "file", b""),
    ):
        form = fields + part(name, b"\x89PNG" + b"a" * size, more) + END
        refused = problem(await alice.http.post(path, content=form, headers=FORM), 422, "validation_failed")
        assert "filename" in refused["detail"], refused
    assert await world.remains() == before


async def test_blank_file_inputs_are_no_files(rich: Member) -> None:
    blanks = part("images", b"", BLANK_FILE) * 5
    answer = await rich.http.post(
        "/v1/projects", content=FIELDS + blanks + part("images", PHOTO, FILE) + END, headers=FORM
    )
    assert len(answer.json()["images"]) == 1, answer.text
    for form in (
        part("file", b"", BLANK_FILE) + part("file", PHOTO, FILE),
        part("file", PHOTO, FILE) + part("other", b"", BLANK_FILE),
    ):
        answer = await rich.http.post("/v1/assets", content=form + END, headers=FORM)
        assert answer.status_code == 201, answer.text
    five = FIELDS + part("images", PHOTO, FILE) * 5 + END
    refused = problem(await rich.http.post("/v1/projects", content=five, headers=FORM), 422, "validation_failed")
    assert "at most 4 files" in refused["detail"]
    two = part("file", PHOTO, FILE) * 2 + END
    refused = problem(await rich.http.post("/v1/assets", content=two, headers=FORM), 422, "validation_failed")
    assert "at most 1 file." in refused["detail"]


async def test_metadata_may_be_a_part_of_json(rich: Member) -> None:
    for more in (
        BLOB,
        BLOB.replace("application/json", "application/json; charset=utf-8"),
        BLOB.replace("blob", 'a\\"b'),
    ):
        form = FIELDS + part("metadata", b'{"cart": "7"}', more) + END
        answer = await rich.http.post("/v1/projects", content=form, headers=FORM)
        assert answer.json()["metadata"] == {"cart": "7"}, answer.text
    form = FIELDS + part("metadata", b'\xef\xbb\xbf{"cart": "7"}') + END
    answer = await rich.http.post("/v1/projects", content=form, headers=FORM)
    assert answer.json()["metadata"] == {"cart": "7"}, answer.text
    named = FIELDS + part("metadata", b'{"cart": "7"}', '; filename="a.png"\r\nContent-Type: image/png') + END
    problem(await rich.http.post("/v1/projects", content=named, headers=FORM), 422, "validation_failed")


async def test_what_a_client_says_of_the_type_of_a_part_counts_little(rich: Member) -> None:
    """Some say JSON, or bytes, of each part."""
    as_json = '; filename="a.png"\r\nContent-Type: application/json'
    answer = await rich.http.post("/v1/projects", content=FIELDS + part("images", PHOTO, as_json) + END, headers=FORM)
    assert len(answer.json()["images"]) == 1, answer.text
    answer = await rich.http.post("/v1/assets", content=part("file", PHOTO, as_json) + END, headers=FORM)
    assert answer.status_code == 201, answer.text
    as_bytes = "\r\nContent-Type: application/octet-stream"
    form = part("kind", b"image", as_bytes) + part("prompt", b"a cup", as_bytes) + END
    assert (await rich.http.post("/v1/projects", content=form, headers=FORM)).status_code == 202


async def test_forty_blank_inputs_are_too_many_fields(alice: Member) -> None:
    form = FIELDS + part("images", b"", BLANK_FILE) * 40 + END
    refused = problem(await alice.http.post("/v1/projects", content=form, headers=FORM), 422, "validation_failed")
    assert "at most 32 fields" in refused["detail"]


@pytest.mark.parametrize("blank", ["\x1f", " \x1c\x85 ", "\u3000"])
async def test_blank_is_what_python_takes_for_blank(alice: Member, blank: str) -> None:
    for path, body in (("/v1/projects", {**ORDER, "prompt": blank}), ("/v1/api-keys", {"name": blank})):
        problem(await alice.http.post(path, json=body), 422, "validation_failed")


@pytest.mark.parametrize(
    "parameters", ["", "; boundary=", '; boundary=""', "; boundary=" + "a" * 71, "; charset=utf-16"]
)
async def test_a_form_has_a_boundary_and_is_in_utf_8(alice: Member, world: World, parameters: str) -> None:
    before = await world.remains()
    kind = {"content-type": f"multipart/form-data{parameters}"}
    kind["content-type"] += f"; boundary={BOUNDARY}" if "charset" in parameters else ""
    body = (FIELDS + END).replace(BOUNDARY.encode(), b"") if parameters == "; boundary=" else FIELDS + END
    problem(await alice.http.post("/v1/projects", content=body, headers=kind), 422, "validation_failed")
    assert await world.remains() == before


JSON = (None, "application/json", "Application/JSON; charset=utf-8", "application/vnd.api+json", "application/ld+json")
OTHERS = ("text/json", "application/x-json", "application/jsonp", "text/plain", "application/json-seq", "jsonx")


@pytest.mark.parametrize("path", ["/v1/projects", "/v1/generations", "/v1/api-keys"])
async def test_what_json_is_called_is_the_same_on_each_route(rich: Member, path: str) -> None:
    bodies = {
        "/v1/projects": ORDER,
        "/v1/generations": {"operation": "image", "input": {"prompt": "a"}},
        "/v1/api-keys": {"name": None},
    }
    for kind in (*JSON, *OTHERS):
        request = rich.http.build_request("POST", path, json=bodies[path])
        del request.headers["content-type"]
        if kind:
            request.headers["content-type"] = kind
        answer = await rich.http.send(request)
        if kind in JSON:
            assert answer.is_success, (kind, answer.text)
        else:
            problem(answer, 415, "unsupported_media", kind)


async def test_a_picture_is_an_asset_or_an_address(alice: Member, world: World) -> None:
    before = await world.remains()
    form = 'must be {"asset_id": …} or {"url": …}'
    wrong: list[tuple[object, str, str]] = [
        ({}, "", form),
        ({"asset_id": "zz", "url": "https://a.example/a.png"}, "", form),
        ("https://a.example/a.png", "", form),
        (None, "", form),
        ({"uri": "https://a.example/a.png"}, "", form),
        ({"asset_id": "zz"}, "/asset_id", "must be a UUID, such as 0199b5f2-6f4e-7cc1-9d2b-3c8f6d1a2b4e"),
        ({"url": "https://a.example/" + "a" * 2048}, "/url", "must have at most 2048 characters"),
        ({"url": "https://a.example/a.png", "name": "a"}, "/name", "is not a field of this call"),
    ]
    for picture, place, said in wrong:
        for path, body, above in (
            ("/v1/projects", {**ORDER, "images": [picture]}, "/images/0"),
            (
                "/v1/generations",
                {"operation": "image", "input": {"prompt": "a", "images": [picture]}},
                "/input/images/0",
            ),
        ):
            refused = problem(await alice.http.post(path, json=body), 422, "validation_failed")
            assert refused["errors"] == [{"pointer": above + place, "detail": said}], picture
    assert await world.remains() == before
