"""How a body is read: only of who is known, only so much, only so slowly, and only as a whole."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tallyframe.api import limits
from tallyframe.settings import Settings
from tests.conftest import enroll, serving
from tests.support.cast import Member
from tests.support.drawn import RED, picture
from tests.support.listening import Server, Wire, listening
from tests.support.remains import World, problem

ORDER = {"kind": "image", "prompt": "a cup"}
PHOTO = picture(RED)
BOUNDARY = "a-boundary"
FORM = {"content-type": f"multipart/form-data; boundary={BOUNDARY}"}


def part(name: str, data: bytes, more: str = "") -> bytes:
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{more}\r\n'
    return head.encode() + b"\r\n" + data + b"\r\n"


FILE = '; filename="a.png"'
FIELDS = part("kind", b"image") + part("prompt", b"a cup")
END = f"--{BOUNDARY}--".encode()


@pytest.fixture
async def before(alice: Member, world: World) -> AsyncIterator[dict[str, object]]:
    """Everything there is; it must all be the same when the test ends."""
    remains = await world.remains()
    yield remains
    assert await world.remains() == remains


async def test_a_stranger_is_refused_before_anything_is_read(anybody: httpx.AsyncClient) -> None:
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        taken += 1
        yield b"[" * 65536

    document = (await anybody.get("/openapi.json")).json()
    posts = [
        (method, path.replace("{", "").replace("}", ""))
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
        if method in {"post", "put", "patch", "delete"} and "security" in operation
    ]
    assert len(posts) > 15
    for method, path in posts:
        for kind in ("application/json", FORM["content-type"], "text/plain", ""):
            answer = await anybody.request(method, path, content=body(), headers={"content-type": kind})
            problem(answer, 401, "unauthenticated", path)
    assert taken == 0


async def test_who_is_no_administrator_is_refused_before_anything_is_read(alice: Member) -> None:
    taken = 0

    async def body() -> AsyncIterator[bytes]:
        nonlocal taken
        taken += 1
        yield b"[" * 65536

    answer = await alice.http.post(
        f"/v1/admin/users/{alice.user.id}/credits", content=body(), headers={"content-type": "application/json"}
    )
    problem(answer, 403, "forbidden")
    assert taken == 0


@pytest.mark.parametrize("path", ["/v1/api-keys", "/v1/projects", "/v1/generations", "/v1/projects/{}/video"])
async def test_a_body_of_json_may_have_64_kib(alice: Member, path: str) -> None:
    path = path.format((await alice.order())["id"])
    for size, too_large in ((65_536, False), (65_537, True)):
        body = b'{"odd": 1}' + b" " * (size - 10)
        answer = await alice.http.post(path, content=body, headers={"content-type": "application/json"})
        assert (answer.status_code == 413) == too_large, answer.text


async def test_a_form_counts_only_with_its_end(alice: Member, before: dict[str, object]) -> None:
    forms = {"/v1/projects": FIELDS + part("images", PHOTO, FILE), "/v1/assets": part("file", PHOTO, FILE)}
    for path, form in forms.items():
        whole = form + END
        cuts = [*range(1, len(END) + 3), len(END) + len(PHOTO) // 2, len(END) + len(PHOTO) + 10, len(whole) - 1]
        for cut in cuts:
            answer = await alice.http.post(path, content=whole[:-cut], headers=FORM)
            problem(answer, 422, "validation_failed", f"{path} without {cut} bytes")
        for odd in (whole.replace(END, END.replace(b"a-", b"b-")), form, form + form, b"", END[2:]):
            problem(await alice.http.post(path, content=odd, headers=FORM), 422, "validation_failed", odd[-40:])


async def test_what_follows_the_end_of_a_form_is_passed_over(alice: Member) -> None:
    for tail in (b"", b"\r\n", b"\r\nan epilogue"):
        answer = await alice.http.post("/v1/projects", content=FIELDS + END + tail, headers=FORM)
        assert answer.status_code == 202, answer.text


BLANK: dict[str, bytes] = {
    "a file input": part("images", b"", '; filename=""\r\nContent-Type: application/octet-stream'),
    **{
        f"{name} of {value!r}": part(name, value)
        for name in ("aspect_ratio", "metadata", "prompt_id", "duration_seconds", "images", "images[]")
        for value in (b"", b"  ", b"\r\n")
    },
}


async def test_what_is_blank_is_left_out(rich: Member) -> None:
    for case, blank in BLANK.items():
        answer = await rich.http.post("/v1/projects", content=FIELDS + blank + END, headers=FORM)
        assert answer.status_code == 202, f"{case}: {answer.text}"
        assert (answer.json()["images"], answer.json()["metadata"]) == ([], {})
    nothing = part("file", b"", '; filename=""')
    refused = problem(await rich.http.post("/v1/assets", content=nothing + END, headers=FORM), 422, "validation_failed")
    assert refused["errors"][0]["pointer"] == "/file"


async def test_null_is_left_out(rich: Member) -> None:
    fields = ("aspect_ratio", "metadata", "prompt_id", "duration_seconds", "images")
    for name in fields:
        answer = await rich.http.post("/v1/projects", json={**ORDER, name: None})
        assert answer.status_code == 202, f"{name}: {answer.text}"
        assert (answer.json()["images"], answer.json()["metadata"]) == ([], {})
    for name in ("metadata", "project_id", "max_credits"):
        order = {"operation": "image", "input": {"prompt": "a cup", "images": None}, name: None}
        assert (await rich.http.post("/v1/generations", json=order)).status_code == 202, name
    key = {"Idempotency-Key": "null and nothing"}
    for same in ({**ORDER, "images": None, "metadata": None}, ORDER):
        answer = await rich.http.post("/v1/projects", json=same, headers=key)
        assert answer.status_code == 202
    assert answer.headers["idempotent-replayed"] == "true"


async def test_a_line_end_of_a_form_is_one_character(rich: Member) -> None:
    prompt = b"\r\n".join([b"a" * 1998] * 2 + [b""])
    form = part("kind", b"image") + part("prompt", prompt + b"b")
    answer = await rich.http.post("/v1/projects", content=form + END, headers=FORM)
    assert answer.json()["prompt"] == ("a" * 1998 + "\n") * 2 + "b"
    assert (await rich.http.post("/v1/projects", json={**ORDER, "prompt": "a\r\nb"})).json()["prompt"] == "a\r\nb"


async def test_a_file_needs_a_filename(alice: Member, before: dict[str, object]) -> None:
    for path, form, pointer in (
        ("/v1/assets", part("file", PHOTO), "/file"),
        ("/v1/projects", FIELDS + part("images", PHOTO), "/images"),
    ):
        refused = problem(await alice.http.post(path, content=form + END, headers=FORM), 422, "validation_failed")
        assert refused["errors"][0]["pointer"] == pointer
        assert "filename" in refused["detail"]
    both = part("file", PHOTO, FILE) + part("name", b"a cup")
    refused = problem(await alice.http.post("/v1/assets", content=both + END, headers=FORM), 422, "validation_failed")
    assert refused["errors"][0]["pointer"] == "/name"


async def test_a_header_that_counts_is_sent_once(alice: Member, before: dict[str, object]) -> None:
    keys = [("Idempotency-Key", "a"), ("Idempotency-Key", "b")]
    for path in ("/v1/projects", "/v1/generations", "/v1/api-keys"):
        order: dict[str, Any] = {"/v1/projects": ORDER, "/v1/generations": {"operation": "image"}}.get(path, {})
        refused = problem(await alice.http.post(path, json=order, headers=keys), 422, "validation_failed")
        assert refused["errors"][0]["pointer"] == "/Idempotency-Key"
    twice = [("Authorization", f"Bearer {alice.key}")] * 2
    alice.http.headers.pop("Authorization")
    problem(await alice.http.get("/v1/me", headers=twice), 401, "unauthenticated")
    alice.http.headers["Authorization"] = f"Bearer {alice.key}"


def head(key: str, length: int, path: str = "/v1/projects", kind: str = FORM["content-type"]) -> bytes:
    return (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {key}\r\nContent-Type: {kind}\r\n"
        f"Content-Length: {length}\r\n\r\n"
    ).encode()


async def status(wire: Wire) -> int:
    return int((await wire.answer()).split(b" ")[1])


async def test_a_body_that_stops_is_given_up(
    settings: Settings, alice: Member, monkeypatch: pytest.MonkeyPatch, before: dict[str, object]
) -> None:
    monkeypatch.setattr(limits, "RATE_WINDOW", 0.3)
    form = FIELDS + part("images", PHOTO + bytes(100_000), FILE) + END
    async with listening(settings) as server:
        for sent in (b"", form[:50], form[:-1]):
            async with server.wire() as wire:
                await wire.send(head(alice.key, len(form)) + sent)
                assert await status(wire) == 408
        async with server.wire() as wire:  # drops don't help
            await wire.send(head(alice.key, len(form)))
            for byte in form[:8]:
                await wire.send(bytes([byte]))
                await asyncio.sleep(0.06)
            assert await status(wire) == 408


async def test_a_body_has_a_deadline(
    settings: Settings, alice: Member, monkeypatch: pytest.MonkeyPatch, before: dict[str, object]
) -> None:
    monkeypatch.setattr(limits, "RATE_WINDOW", 0.1)
    async with listening(settings.replaced(body_timeout=0.5, min_body_rate=1)) as server, server.wire() as wire:
        await wire.send(head(alice.key, 1_000_000) + FIELDS + part("images", b"", FILE)[:-2])
        for _ in range(20):
            await wire.send(b"." * 1000)
            await asyncio.sleep(0.05)
            if wire.reader._buffer:  # type: ignore[attr-defined]
                break
        assert await status(wire) == 408


async def test_one_user_takes_a_quarter_of_what_a_process_takes_in(
    settings: Settings, alice: Member, bob: Member, rich: Member
) -> None:
    begun = FIELDS + part("images", bytes(700_000), FILE)[:-2]
    async with listening(settings.replaced(max_bytes_in_flight=4 * 2**20)) as server:
        async with server.wire() as first:
            await first.send(head(alice.key, 1_000_000) + begun)
            while f'tallyframe_request_bytes{{sender="callers"}} {len(begun)}.0' not in await metrics(server):
                await asyncio.sleep(0.01)
            async with server.wire() as second:
                await second.send(head(alice.key, len(begun)) + begun)
                answer = await second.answer()
                assert b" 503 " in answer
                assert b"retry-after: " in answer.lower()
            async with server.wire() as small:  # small bodies still fit in, and so do those of others
                await small.send(head(alice.key, 2, "/v1/projects", "application/json") + b"{}")
                assert await status(small) == 422
            async with server.wire() as another:
                whole = begun + b"\r\n" + END
                await another.send(head(bob.key, len(whole)) + whole)
                assert await status(another) == 415  # it is no picture
        async with server.wire() as third:  # and all is free when the first one has left
            await third.send(head(alice.key, len(FIELDS + END) + 600_000) + FIELDS + END + b"." * 600_000)
            assert await status(third) == 202


@pytest.mark.parametrize("kind", ["application/json", FORM["content-type"], "text/plain", "multipart/mixed", ""])
async def test_only_where_forms_are_read_a_body_may_be_large(alice: Member, kind: str) -> None:
    """`/healthz` stood still for seconds when a cancel came with 20 MB that called themselves a form."""
    project = await alice.order()
    paths = [f"/v1/projects/{project['id']}/{act}" for act in ("cancel", "publish", "unpublish", "regenerate", "video")]
    for path in (*paths, "/v1/api-keys", "/v1/generations"):
        answer = await alice.http.post(path, content=b"[" + b"[]," * 30_000, headers={"content-type": kind})
        problem(answer, 413, "too_large", path)


async def metrics(server: Server) -> str:
    async with server.wire() as wire:
        await wire.send(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n")
        return (await wire.answer()).decode()


async def test_strangers_do_not_use_up_what_callers_need(settings: Settings, db: Any) -> None:
    issuer = {"auth_issuer": "https://issuer.example", "auth_audience": "app"}
    secret = {"clerk_webhook_signing_secret": "whsec_" + "a" * 32}
    small = settings.replaced(max_bytes_in_flight=4 * 2**20, **issuer, **secret)

    async def stalled(sent: asyncio.Event) -> AsyncIterator[bytes]:
        yield bytes(250_000)
        sent.set()
        await asyncio.sleep(30)

    async with serving(small) as client_for:
        alice = await enroll(db, client_for, "alice2@example.com", 20)
        sent, again = asyncio.Event(), asyncio.Event()
        stranger = asyncio.create_task(client_for(None).post("/v1/webhooks/clerk", content=stalled(sent)))
        second = asyncio.create_task(client_for(None).post("/v1/webhooks/clerk", content=stalled(again)))
        await asyncio.gather(sent.wait(), again.wait())
        problem(await client_for(None).post("/v1/webhooks/clerk", content=bytes(120_000)), 503, "unavailable")
        form = {"images": ("a.png", PHOTO + bytes(900_000), "image/png")}
        assert (await alice.http.post("/v1/projects", data=ORDER, files=form)).status_code == 202
        stranger.cancel(), second.cancel()
        await asyncio.gather(stranger, second, return_exceptions=True)
