"""What the storage says when Cloudinary refuses, breaks or hangs; and that no secret shows then, also not in a log."""

import asyncio
import logging
import socket
import time
import traceback
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tallyframe.storages.base import StorageError
from tallyframe.storages.cloudinary import SMALLEST_CHUNK, CloudinaryStorage
from tests.support.cloudinary import MP4, PNG, FakeCloudinary, fake_cloudinary
from tests.support.streaming import dripping
from tests.support.vendor import DROP, Reply, answer, hang

KEY = "generations/1/image.png"
VIDEO = "generations/1/video.mp4"
ACTIONS = ["put", "get", "delete", "probe"]
CALLS = ["put", "delete", "probe"]  # of the API, not of the CDN


@pytest.fixture
async def fake() -> AsyncIterator[FakeCloudinary]:
    async with fake_cloudinary() as served:
        yield served


@pytest.fixture
async def storage(fake: FakeCloudinary) -> AsyncIterator[CloudinaryStorage]:
    opened = CloudinaryStorage(**fake.settings(), timeout=10, chunk_bytes=SMALLEST_CHUNK, max_bytes=20_000)
    yield opened
    await opened.aclose()


@pytest.fixture
async def impatient(fake: FakeCloudinary) -> AsyncIterator[CloudinaryStorage]:
    opened = CloudinaryStorage(**fake.settings(), timeout=0.4)
    yield opened
    await opened.aclose()


async def act(storage: CloudinaryStorage, action: str) -> None:
    match action:
        case "put":
            await storage.put(KEY, PNG, "image/png")
        case "get":
            await storage.get(KEY)
        case "delete":
            await storage.delete(KEY)
        case "probe":
            await storage.probe()


async def failure(storage: CloudinaryStorage, action: str) -> str:
    """Return the text of the StorageError, after a look at all of it."""
    with pytest.raises(StorageError) as caught:
        await act(storage, action)
    shown = "".join(traceback.format_exception(caught.value))
    assert "CANARY" not in shown
    assert "100200300400500" not in shown
    assert "String to sign" not in shown
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    return str(caught.value)


def said(message: str, status: int) -> Reply:
    return answer({"error": {"message": message}}, status, X_Cld_Error=message)


def mean(fake: FakeCloudinary) -> str:
    """A message that quotes everything it shouldn't."""
    return f"Bad thing\r\nof {fake.key}: {fake.secret}. String to sign - 'public_id=x&timestamp=1{fake.secret}'"


@pytest.mark.parametrize("action", CALLS)
@pytest.mark.parametrize(
    ("status", "why"),
    [
        (400, "the service answers 400: Bad thing of …: …"),
        (401, "401 (it does not accept the key, the secret or the cloud in CLOUDINARY_URL)"),
        (403, "403 (the key may not do this)"),
        (404, "the service answers 404: Bad thing"),
        (409, "the service answers 409: Bad thing"),
        (420, "420 (the account's rate limit is used up)"),
        (429, "429 (the account's rate limit is used up)"),
        (499, "the service answers 499: Bad thing"),
        (500, "the service answers 500: Bad thing"),
        (503, "the service answers 503: Bad thing"),
    ],
)
async def test_what_the_api_refuses(
    fake: FakeCloudinary, storage: CloudinaryStorage, action: str, status: int, why: str
) -> None:
    fake.faults.append(said(mean(fake), status))
    text = await failure(storage, action)
    assert why in text
    assert text.startswith("Cloudinary can't ")
    assert len(fake.served.requests) == 1, "the caller decides whether to try again"


@pytest.mark.parametrize("status", [302, 400, 401, 403, 404, 420, 423, 500, 502])
async def test_what_the_cdn_refuses(fake: FakeCloudinary, storage: CloudinaryStorage, status: int) -> None:
    reply = Reply(status, b"<html>", {"X-Cld-Error": f"deny {fake.secret}", "Location": f"{fake.served.url}/else"})
    fake.faults.append(reply)
    assert f"the service answers {status}: deny …" in await failure(storage, "get")
    assert len(fake.served.requests) == 1, "no redirect is followed"


@pytest.mark.parametrize("action", CALLS)
@pytest.mark.parametrize(
    "body",
    [b"", b"<html>502 CANARY</html>", b"[]", b"5", b'"text"', b"null", b'{"error": "text"}', b"\xff\xfe", b"{}"],
)
async def test_answers_that_make_no_sense(
    fake: FakeCloudinary, storage: CloudinaryStorage, action: str, body: bytes
) -> None:
    fake.faults.append(Reply(200, body))
    text = await failure(storage, action)
    assert any(why in text for why in ("no JSON", "makes no sense", "differs in public_id", "does not say"))


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("reply", [DROP, Reply(200, b'{"public_id": "x"}', cut_after=5)], ids=["dropped", "cut"])
async def test_a_connection_that_breaks(
    fake: FakeCloudinary, storage: CloudinaryStorage, action: str, reply: Reply
) -> None:
    fake.faults += [reply] * 4  # the SDK sends a ping up to four times, and nothing else twice
    assert "the connection broke" in await failure(storage, action)
    assert len(fake.served.requests) == (4 if action == "probe" else 1)


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_hanging_service_has_a_deadline(
    fake: FakeCloudinary, impatient: CloudinaryStorage, action: str
) -> None:
    fake.faults += [hang()] * 4
    started = time.monotonic()
    assert "no answer within 0.4 seconds" in await failure(impatient, action)
    assert time.monotonic() - started < 15


async def test_hanging_calls_give_their_threads_back(fake: FakeCloudinary) -> None:
    storage = CloudinaryStorage(**fake.settings(), timeout=2)
    fake.faults += [hang()] * 16  # as many as there are threads
    await asyncio.gather(*(failure(storage, "delete") for _ in range(16)))
    await storage.put(KEY, PNG, "image/png")
    await storage.aclose()


async def test_a_dripping_file_has_a_deadline(fake: FakeCloudinary) -> None:
    """Each byte comes in time, the whole doesn't."""
    async with dripping() as stream:
        storage = CloudinaryStorage(fake.account_url, delivery_url=stream.url, timeout=0.4)
        started = time.monotonic()
        assert "no answer within 0.4 seconds" in await failure(storage, "get")
        assert time.monotonic() - started < 15
        await storage.aclose()


async def test_hanging_uploads_do_not_keep_the_others_waiting(fake: FakeCloudinary) -> None:
    impatient = CloudinaryStorage(**fake.settings(), timeout=3)
    fake.faults += [hang()] * 5
    hanging = [asyncio.create_task(failure(impatient, "put")) for _ in range(5)]
    while len(fake.served.requests) < 5:
        await asyncio.sleep(0.01)
    await impatient.put(VIDEO, MP4, "video/mp4")
    assert not any(task.done() for task in hanging)
    assert all("no answer" in text for text in await asyncio.gather(*hanging))
    await impatient.aclose()


@pytest.mark.parametrize("action", ACTIONS)
async def test_nobody_is_there(fake: FakeCloudinary, action: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        storage = CloudinaryStorage(fake.account_url, upload_prefix=url, delivery_url=url)
        assert f"{url} can't be reached" in await failure(storage, action)
        await storage.aclose()


@pytest.mark.parametrize("action", CALLS)
@pytest.mark.parametrize(
    "wrong", [{"secret": "CANARY-other"}, {"key": "999CANARY999"}, {"cloud": "other-cloud"}], ids=lambda wrong: [*wrong]
)
async def test_wrong_credentials(
    fake: FakeCloudinary, action: str, wrong: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    url = FakeCloudinary(**wrong).account_url
    storage = CloudinaryStorage(**{**fake.settings(), "cloudinary_url": url})
    assert "the service answers 401 (it does not accept the key" in await failure(storage, action)
    await storage.aclose()
    assert "CANARY" not in caplog.text
    assert fake.assets == {}


@pytest.mark.parametrize("action", ["put", "delete"])
async def test_a_wrong_clock(
    fake: FakeCloudinary, storage: CloudinaryStorage, action: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("cloudinary.utils.now", lambda: str(int(time.time()) - 3700))
    assert "400: Stale request - reported time is more than 1 hour ago" in await failure(storage, action)


@pytest.mark.parametrize(
    "changes",
    [
        {"bytes": 7},
        {"bytes": None},
        {"public_id": "generations/1/image-png_x1"},
        {"format": "webp"},
        {"etag": "0" * 32},
        {"bytes": "x" * 1000, "etag": "0" * 32},
    ],
    ids=repr,
)
async def test_what_was_kept_has_to_be_what_was_sent(
    fake: FakeCloudinary, storage: CloudinaryStorage, changes: dict[str, Any]
) -> None:
    fake.changes = changes
    assert f"what it has kept differs in {next(iter(sorted(changes)))}" in await failure(storage, "put")


async def test_an_etag_that_is_no_md5_proves_nothing(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    fake.changes = {"etag": "d41d8cd98f00b204e9800998ecf8427e-3"}
    await storage.put(KEY, PNG, "image/png")


async def test_a_refused_chunk_is_the_last_one_sent(fake: FakeCloudinary) -> None:
    fake.faults += [answer({"done": False}), said("Bad chunk", 400)]
    patient = CloudinaryStorage(**fake.settings(), chunk_bytes=SMALLEST_CHUNK)
    with pytest.raises(StorageError, match="the service answers 400: Bad chunk"):
        await patient.put(VIDEO, MP4 + bytes(4 * SMALLEST_CHUNK), "video/mp4")
    await patient.aclose()
    assert len(fake.served.requests) == 2


@pytest.mark.parametrize(("length", "fits"), [(20_000, True), (20_001, False)])
async def test_how_much_is_read(fake: FakeCloudinary, storage: CloudinaryStorage, length: int, fits: bool) -> None:  # noqa: FBT001 - of the table
    fake.assets["image", "generations/1/image-png"] = data = PNG.ljust(length, b"x")
    if fits:
        assert await storage.get(KEY) == data
    else:
        assert "more than 20,000 bytes" in await failure(storage, "get")


async def test_an_endless_file_is_not_read_to_its_end(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    fake.faults.append(Reply(200, b"", pad_to=2**40))
    assert "more than 20,000 bytes" in await failure(storage, "get")


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        (Reply(200, b""), "the file comes empty"),
        (Reply(200, b"bomb", {"Content-Encoding": "gzip"}), "the file comes compressed"),
    ],
)
async def test_files_that_can_not_be_what_was_stored(
    fake: FakeCloudinary, storage: CloudinaryStorage, reply: Reply, why: str
) -> None:
    fake.faults.append(reply)
    assert why in await failure(storage, "get")
    [request] = fake.served.requests
    assert request.headers["accept-encoding"] == "identity"


async def test_a_deletion_that_is_not_confirmed(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    fake.faults.append(answer({"result": "blocked"}))
    assert "does not say that it is gone" in await failure(storage, "delete")
