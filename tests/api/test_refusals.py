"""A refused order says why in one shape, and leaves nothing behind: no row, no credit moved, no file."""

import json
from collections.abc import AsyncIterator
from typing import Any
from uuid import uuid4

import httpx
import pytest

from tallyframe.settings import Settings
from tests.conftest import enroll, serving
from tests.support.cast import Member
from tests.support.drawn import RED, blank_png, picture
from tests.support.remains import World, problem

ORDER = {"kind": "image", "prompt": "a cup"}
VIDEO = {"kind": "video", "prompt": "a cup"}
PHOTO = picture(RED)

#: JSON that is no order → what the answer must name.
BAD_JSON: dict[str, tuple[str, str]] = {
    "nothing": ("", ""),
    "cut off": ('{"kind": "image", "prompt": "a cup"', ""),
    "a list": ("[]", ""),
    "null": ("null", ""),
    "not UTF-8": ('{"kind": "image", "prompt": "\xff"}', ""),
    "nested without end": ("[" * 30_000, ""),
    "nested metadata": ('{"kind": "image", "prompt": "a", "metadata": ' + '{"a":' * 5000 + "1" + "}" * 5001, ""),
    "an unknown field": ('{"kind": "image", "prompt": "a cup", "credits": 0}', "/credits"),
    "an unknown surrogate": ('{"kind": "image", "prompt": "a cup", "\\ud800": 0}', ""),
    "no kind": ('{"prompt": "a cup"}', "/kind"),
    "no prompt": ('{"kind": "image"}', "prompt"),
    "an empty prompt": ('{"kind": "image", "prompt": ""}', "/prompt"),
    "a blank prompt": ('{"kind": "image", "prompt": " \\n\\t "}', "/prompt"),
    "4,001 characters": (json.dumps({**ORDER, "prompt": "a" * 4001}), "4000"),
    "NUL in the prompt": ('{"kind": "image", "prompt": "a\\u0000b"}', "/prompt"),
    "a lone surrogate in the prompt": ('{"kind": "image", "prompt": "a\\ud800"}', ""),
    "a number as prompt": ('{"kind": "image", "prompt": 5}', "/prompt"),
    "an unknown kind": (json.dumps({**ORDER, "kind": "audio"}), "There are: image, video."),
    "an unknown aspect ratio": (json.dumps({**ORDER, "aspect_ratio": "2:1"}), "'16:9'"),
    "a bad prompt_id": (json.dumps({**ORDER, "prompt_id": "7"}), "/prompt_id"),
    "17 keys": (json.dumps({**ORDER, "metadata": {str(n): "" for n in range(17)}}), "16"),
    "a long key": (json.dumps({**ORDER, "metadata": {"k" * 65: ""}}), "64"),
    "a long value": (json.dumps({**ORDER, "metadata": {"k": "v" * 513}}), "512"),
    "an empty key": (json.dumps({**ORDER, "metadata": {"": "v"}}), "/metadata"),
    "metadata of numbers": (json.dumps({**ORDER, "metadata": {"k": 1}}), "/metadata/k"),
    "metadata as a list": (json.dumps({**ORDER, "metadata": []}), "/metadata"),
    "NUL in a key": ('{"kind": "image", "prompt": "a", "metadata": {"\\u0000": "v"}}', "/metadata"),
    "NUL in a value": ('{"kind": "image", "prompt": "a", "metadata": {"k": "\\u0000"}}', "/metadata/k"),
    "a surrogate in a key": ('{"kind": "image", "prompt": "a", "metadata": {"\\ud800": "v"}}', ""),
    "a surrogate in a value": ('{"kind": "image", "prompt": "a", "metadata": {"k": "\\ud800"}}', ""),
    "5 images": (json.dumps({**ORDER, "images": [{"asset_id": str(uuid4())}] * 5}), "4"),
    "an image of nothing": (json.dumps({**ORDER, "images": [{}]}), "/images/0"),
    "an image in two ways": (
        json.dumps({**ORDER, "images": [{"asset_id": str(uuid4()), "url": "http://a"}]}),
        "/images",
    ),
    "images as text": (json.dumps({**ORDER, "images": "cup.png"}), "/images"),
    "NUL in a URL": ('{"kind": "image", "prompt": "a", "images": [{"url": "http://a/\\u0000"}]}', "/images/0"),
    "a video from 2 pictures": (json.dumps({**VIDEO, "images": [{"asset_id": str(uuid4())}] * 2}), "at most 1 item"),
    "a long image": (json.dumps({**ORDER, "duration_seconds": 6}), "duration_seconds"),
    **{
        f"a video of {length}": (json.dumps({**VIDEO, "duration_seconds": 1}).replace(": 1}", f": {length}}}"), said)
        for length, said in {
            "0": "/duration_seconds",
            "-1": "/duration_seconds",
            "9": "1 to 8",
            "1e400": "/duration_seconds",
            "9" * 30: "1 to 8",
            "1.5": "/duration_seconds",
            '"six"': "/duration_seconds",
            "NaN": "/duration_seconds",
            "[6]": "/duration_seconds",
        }.items()
    },
}

#: Forms that are no order: fields, files → what the answer must name.
BAD_FORMS: dict[str, tuple[dict[str, Any], list[tuple[str, bytes]], str]] = {
    "no kind": ({"prompt": "a"}, [], "/kind"),
    "no prompt": ({"kind": "image"}, [], "prompt"),
    "an unknown field": ({**ORDER, "credits": "0"}, [], "/credits"),
    "a field twice": ({**ORDER, "kind": ["image", "video"]}, [], "twice"),
    "40 fields": ({**ORDER, **{f"field{n}": "" for n in range(40)}}, [], "fields"),
    "4,001 characters": ({**ORDER, "prompt": "a" * 4001}, [], "4000"),
    "NUL": ({**ORDER, "prompt": "a\0b"}, [], "/prompt"),
    "a bad duration": ({**VIDEO, "duration_seconds": "six"}, [], "/duration_seconds"),
    "a long video": ({**VIDEO, "duration_seconds": "9"}, [], "1 to 8"),
    "a bad aspect ratio": ({**ORDER, "aspect_ratio": "square"}, [], "'16:9'"),
    "metadata that isn't JSON": ({**ORDER, "metadata": "k=v"}, [], "JSON object"),
    "metadata that is a list": ({**ORDER, "metadata": '["v"]'}, [], "/metadata"),
    "metadata of 17 keys": ({**ORDER, "metadata": json.dumps({str(n): "" for n in range(17)})}, [], "16"),
    "NUL in metadata": ({**ORDER, "metadata": '{"k": "\\u0000"}'}, [], "/metadata"),
    "a surrogate as value": ({**ORDER, "metadata": '{"k": "\\ud800"}'}, [], "/metadata"),
    "a surrogate as key": ({**ORDER, "metadata": '{"\\ud800": "v"}'}, [], "/metadata"),
    "metadata nested without end": ({**ORDER, "metadata": "[" * 30_000}, [], "/metadata"),
    "an unknown field beside metadata": ({**ORDER, "metadata": "{}", "credits": "0"}, [], "/credits"),
    "images as text": ({**ORDER, "images": "cup.png"}, [], "/images"),
    "a file in another field": (ORDER, [("prompt_file", PHOTO)], "'images'"),
    "5 images": (ORDER, [("images", PHOTO)] * 5, "4"),
    "a video from 2 pictures": (VIDEO, [("images", PHOTO)] * 2, "at most 1 item"),
}

JPEG = picture(RED, "JPEG", (64, 64))
#: Files that are no picture, or too much of one → status, code, what the answer must name.
BAD_FILES: dict[str, tuple[bytes, int, str, str]] = {
    "170 megapixels": (blank_png(13_040, 13_040), 413, "too_large", "40.0"),
    "a text": (b"just text", 415, "unsupported_media", "JPEG, PNG and WebP"),
    "nothing": (b"", 415, "unsupported_media", "JPEG, PNG and WebP"),
    "a GIF": (picture(RED, "GIF"), 415, "unsupported_media", "JPEG, PNG and WebP"),
    "a script in SVG": (b"<svg xmlns='http://www.w3.org/2000/svg'/>", 415, "unsupported_media", "JPEG, PNG and WebP"),
    "half a JPEG": (JPEG[: len(JPEG) // 2], 422, "validation_failed", "damaged"),
    "half a PNG": (PHOTO[:50], 422, "validation_failed", "damaged"),
    "over 5 MiB": (PHOTO + bytes(5 * 2**20), 413, "too_large", "5 MiB"),
}


@pytest.fixture
async def before(alice: Member, world: World) -> AsyncIterator[dict[str, object]]:
    """Everything there is; it must all be the same when the test ends."""
    remains = await world.remains()
    yield remains
    assert await world.remains() == remains
    assert await alice.available() == 20


async def test_json_that_is_no_order(alice: Member, before: dict[str, object]) -> None:
    for case, (body, said) in BAD_JSON.items():
        headers = {"content-type": "application/json"}
        answer = await alice.http.post("/v1/projects", content=body.encode("latin-1"), headers=headers)
        refused = problem(answer, 422, "validation_failed", case)
        assert said in answer.text, f"{case}: {answer.text[:500]}"
        assert len(refused["detail"]) < 2000, case


async def test_forms_that_are_no_order(alice: Member, before: dict[str, object]) -> None:
    for case, (fields, files, said) in BAD_FORMS.items():
        parts = [(name, ("a.png", data)) for name, data in files] or [("images", ("a.png", PHOTO))]
        answer = await alice.http.post("/v1/projects", data=fields, files=parts)
        problem(answer, 422, "validation_failed", case)
        assert said in answer.text, f"{case}: {answer.text[:500]}"
    broken = {"content-type": "multipart/form-data; boundary=x"}
    for body in (b"--x\r\nno header\r\n\r\n--x--", b"--x\r\nContent-Disposition: form-data\r\n\r\na\r\n--x--"):
        problem(await alice.http.post("/v1/projects", content=body, headers=broken), 422, "validation_failed")
    no_boundary = {"content-type": "multipart/form-data"}
    problem(await alice.http.post("/v1/projects", content=b"x", headers=no_boundary), 422, "validation_failed")


async def test_a_form_that_is_good_is_taken(alice: Member) -> None:
    """Otherwise the refusals above could all have another cause."""
    fields = {**ORDER, "metadata": '{"k": "v"}', "aspect_ratio": "4:5"}
    answer = await alice.http.post("/v1/projects", data=fields, files=[("images", ("a.png", PHOTO))] * 4)
    assert answer.status_code == 202, answer.text
    assert (len(answer.json()["images"]), answer.json()["metadata"]) == (4, {"k": "v"})


async def test_other_content_types(alice: Member, before: dict[str, object]) -> None:
    for content_type in ("text/plain", "application/xml", "application/x-www-form-urlencoded", "nonsense"):
        headers = {"content-type": content_type}
        answer = await alice.http.post("/v1/projects", content=json.dumps(ORDER), headers=headers)
        said = problem(answer, 415, "unsupported_media", content_type)["detail"]
        assert "application/json" in said
        assert "multipart/form-data" in said


async def test_files_that_are_no_pictures(alice: Member, before: dict[str, object]) -> None:
    for case, (data, status, code, said) in BAD_FILES.items():
        file = ("a.png", data, "image/png")
        # The good picture in front is stored first, and must go again.
        order = [("images", ("good.png", PHOTO, "image/png")), ("images", file)]
        for answer in (
            await alice.http.post("/v1/projects", data=ORDER, files=order),
            await alice.http.post("/v1/assets", files={"file": file}),
        ):
            refused = problem(answer, status, code, case)
            assert said in refused["detail"], f"{case}: {refused['detail']}"
    wrong_name = await alice.http.post("/v1/assets", files={"picture": PHOTO})
    problem(wrong_name, 422, "validation_failed")
    no_form: dict[str, Any]
    for no_form in ({"data": {"file": "text"}}, {"json": {}}, {}):
        problem(await alice.http.post("/v1/assets", **no_form), 415, "unsupported_media", no_form)


async def test_what_is_private_is_not_fetched(alice: Member, before: dict[str, object]) -> None:
    hosts = [
        "169.254.169.254", "169.254.169.254.", "2852039166", "0xA9FEA9FE", "0xa9.0xfe.0xa9.0xfe",
        "0251.0376.0251.0376", "169.254.43518", "169.16689662", "[::ffff:169.254.169.254]", "[::ffff:a9fe:a9fe]",
        "[64:ff9b::a9fe:a9fe]", "[2002:a9fe:a9fe::]", "[fe80::1%25eth0]", "[fd00:ec2::254]",
        "\uff11\uff16\uff19.\uff12\uff15\uff14.\uff11\uff16\uff19.\uff12\uff15\uff14",
        "169\u3002254\u3002169\u3002254", "%31%36%39.254.169.254", "localhost", "LOCALHOST", "localhost.",
        "127.0.0.1", "127.1", "0", "0.0.0", "[::1]", "[::]", "10.0.0.1", "100.100.100.200",
        "someone@169.254.169.254", "example.com@127.0.0.1", "169.254.169.254:80", "127.0.0.1:6379", "127.0.0.1:99999",
    ]  # fmt: skip
    urls = [f"{scheme}://{host}/latest/meta-data" for host in hosts for scheme in ("http", "https")]
    odd = [
        "file:///etc/passwd",
        "file://localhost/etc/passwd",
        "ftp://127.0.0.1/a.png",
        "gopher://127.0.0.1:6379/_INFO",
    ]
    none = ["//169.254.169.254/", "/etc/passwd", "http://", "http:///a.png", "data:image/png;base64,AAAA", "a" * 2000]
    for url in [*urls, *odd, *none]:
        answer = await alice.http.post("/v1/projects", json={**ORDER, "images": [{"url": url}]})
        refused = problem(answer, 422, "validation_failed", url)
        assert refused["errors"][0]["pointer"] == "/images/0/url", url
        assert "public http(s) addresses" in refused["detail"], f"{url}: {refused['detail']}"


async def test_an_unknown_prompt(alice: Member, before: dict[str, object]) -> None:
    for order in ({**ORDER, "prompt_id": str(uuid4())}, {"kind": "image", "prompt_id": str(uuid4())}):
        problem(await alice.http.post("/v1/projects", json=order), 404, "prompt_not_found")
        answer = await alice.http.post("/v1/projects", data=order, files={"images": PHOTO})
        problem(answer, 404, "prompt_not_found")


async def test_bodies_that_are_too_large(settings: Settings, alice: Member, before: dict[str, object]) -> None:
    small = settings.replaced(max_upload_bytes=100_000)  # so the whole may have 1.4 MB
    taken = 0

    async def endless(chunk: bytes) -> AsyncIterator[bytes]:
        nonlocal taken
        for _ in range(10_000):
            taken += len(chunk)
            yield chunk

    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.png"\r\n\r\n'
    bodies = [
        ("/v1/projects", "application/json", b" " * 65536),
        ("/v1/projects", "multipart/form-data; boundary=x", head.replace(b'"file"', b'"images"') + bytes(65536)),
        ("/v1/assets", "multipart/form-data; boundary=x", head + bytes(65536)),
        ("/v1/api-keys", "application/json", b" " * 65536),
    ]
    async with serving(small) as client_for:
        client = client_for(alice.key)
        for path, content_type, chunk in bodies:
            headers = {"content-type": content_type}
            taken = 0
            answer = await client.post(path, content=endless(chunk), headers=headers)
            problem(answer, 413, "too_large", f"chunked {path} {content_type}")
            assert taken < 2_000_000
            taken = 0
            announced = {**headers, "content-length": "1000000000"}
            answer = await client.post(path, content=endless(chunk), headers=announced)
            said = problem(answer, 413, "too_large", f"announced {path} {content_type}")["detail"]
            assert ("MiB" if "form" in content_type else "64 KiB") in said
            assert taken == 0  # refused before anything was read


async def test_too_few_credits(alice: Member, db: Any, client_for: Any, world: World) -> None:
    poor = await enroll(db, client_for, "poor@example.com", 4)
    before = await world.remains()
    orders: list[dict[str, Any]] = [
        {"json": ORDER},
        {"data": ORDER, "files": [("images", PHOTO), ("images", JPEG)]},
        {"data": VIDEO, "files": {"images": PHOTO}},
    ]
    for order in orders:
        refused = problem(await poor.http.post("/v1/projects", **order), 402, "insufficient_credits")
        price = 10 if order.get("data") == VIDEO else 5
        assert (refused["required"], refused["available"]) == (price, 4)
        assert str(price) in refused["detail"]
    assert await world.remains() == before


async def test_too_many_at_once(settings: Settings, alice: Member, world: World) -> None:
    async with serving(settings.replaced(max_active_generations=1)) as client_for:
        client = client_for(alice.key)
        assert (await client.post("/v1/projects", json=ORDER)).status_code == 202
        before = await world.remains()
        answer: httpx.Response = await client.post("/v1/projects", data=ORDER, files={"images": PHOTO})
        problem(answer, 429, "too_many_active_generations")
        assert await world.remains() == before
