"""What the storage says when the service refuses, breaks or hangs; and that no secret shows then, also not in a log."""

import logging
import socket
import time
import traceback
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tallyframe.storages.base import StorageError
from tallyframe.storages.s3 import S3Storage
from tests.support.s3 import FakeS3, Refused, fake_s3
from tests.support.vendor import DROP, Reply, Request, hang

KEY = "generations/1/image.png"
VIDEO = "generations/1/video.mp4"
PART = 8 * 2**20  # bytes
ACTIONS = ["put", "get", "delete", "probe"]
TRIES = 3


@pytest.fixture
async def fake() -> AsyncIterator[FakeS3]:
    async with fake_s3() as served:
        yield served


@pytest.fixture
async def storage(fake: FakeS3) -> AsyncIterator[S3Storage]:
    opened = S3Storage(**fake.settings(), timeout=10, max_bytes=20_000)
    yield opened
    await opened.aclose()


async def act(storage: S3Storage, action: str) -> None:
    match action:
        case "put":
            await storage.put(KEY, b"data", "image/png")
        case "get":
            await storage.get(KEY)
        case "delete":
            await storage.delete(KEY)
        case "probe":
            await storage.probe()


async def failure(storage: S3Storage, action: str) -> str:
    """Return the text of the StorageError, after a look at all of it."""
    with pytest.raises(StorageError) as caught:
        await act(storage, action)
    shown = "".join(traceback.format_exception(caught.value))
    assert "CANARY" not in shown
    assert "StringToSign" not in shown
    assert "Signature=" not in shown
    assert str(caught.value).isprintable()
    assert len(str(caught.value)) < 400
    return str(caught.value)


def refusal(status: int, code: str) -> Reply:
    return Refused(status, code, "Bad thing", AWSAccessKeyId="CANARY", StringToSign="CANARY").reply


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("status", "code", "why", "tries"),
    [
        (400, "InvalidRequest", "400 InvalidRequest", 1),
        (401, "Unauthorized", "401 Unauthorized", 1),
        (403, "AccessDenied", "403 AccessDenied (the access key may not do this in this bucket)", 1),
        (403, "SignatureDoesNotMatch", "403 SignatureDoesNotMatch (the secret access key is wrong)", 1),
        (403, "InvalidAccessKeyId", "403 InvalidAccessKeyId (the access key id is unknown there)", 1),
        (403, "RequestTimeTooSkewed", "403 RequestTimeTooSkewed (this machine's clock is wrong)", 1),
        (404, "NoSuchBucket", "404 NoSuchBucket (there is no such bucket)", 1),
        (409, "OperationAborted", "409 OperationAborted", 1),
        (412, "PreconditionFailed", "412 PreconditionFailed", 1),
        (413, "EntityTooLarge", "413 EntityTooLarge", 1),
        (429, "SlowDown", "429 SlowDown", TRIES),
        (500, "InternalError", "500 InternalError", TRIES),
        (501, "NotImplemented", "501 NotImplemented", TRIES),
        (503, "SlowDown", "503 SlowDown", TRIES),
    ],
)
async def test_what_the_service_refuses(
    fake: FakeS3, storage: S3Storage, action: str, status: int, code: str, why: str, tries: int
) -> None:
    if (action, code) == ("probe", "AccessDenied"):
        pytest.skip("to a key that may not list the bucket, that is how AWS says that there is no such object")
    fake.faults += [refusal(status, code)] * TRIES
    assert f"in bucket 'media': the service answers {why}." in await failure(storage, action)
    assert len(fake.served.requests) == tries


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("body", [b"", b"<html>CANARY</html>", b"<Code>no code, CANARY</Code>"])
async def test_refusals_without_a_code(fake: FakeS3, storage: S3Storage, action: str, body: bytes) -> None:
    fake.faults.append(Reply(400, body))
    assert "in bucket 'media': the service answers 400." in await failure(storage, action)


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_refusal_that_is_no_text(fake: FakeS3, storage: S3Storage, action: str) -> None:
    fake.faults.append(Reply(400, b"\xff\xfe"))
    assert "the answer makes no sense" in await failure(storage, action)


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize("reply", [refusal(503, "SlowDown"), DROP], ids=["503", "dropped"])
async def test_what_passes_is_tried_again(fake: FakeS3, storage: S3Storage, action: str, reply: Reply) -> None:
    await storage.put(KEY, b"data", "image/png")
    fake.faults += [reply] * (TRIES - 1)
    await act(storage, action)
    assert len(fake.served.requests) == 1 + TRIES


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_connection_that_breaks_each_time(fake: FakeS3, storage: S3Storage, action: str) -> None:
    fake.faults += [DROP] * TRIES
    assert "the connection broke" in await failure(storage, action)
    assert len(fake.served.requests) == TRIES


async def test_a_read_that_breaks_goes_on_where_it_broke(fake: FakeS3, storage: S3Storage) -> None:
    await storage.put(KEY, b"0123456789", "image/png")
    whole = fake.objects[KEY]
    fake.faults.append(Reply(200, whole.data, {"ETag": whole.etag, **whole.headers}, cut_after=4))
    assert await storage.get(KEY) == b"0123456789"
    assert [request.headers.get("range") for request in fake.served.requests[1:]] == [None, "bytes=4-9"]


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_hanging_service_has_a_deadline(fake: FakeS3, action: str) -> None:
    storage = S3Storage(**fake.settings(), timeout=0.3)
    fake.faults += [hang()] * TRIES
    started = time.monotonic()
    assert "no answer within 0.3 seconds" in await failure(storage, action)
    assert time.monotonic() - started < 15
    await storage.aclose()


async def test_retries_are_inside_of_the_deadline(fake: FakeS3) -> None:
    storage = S3Storage(**fake.settings(), timeout=0.3)
    fake.faults += [Reply(503, delay=0.2)] * TRIES
    started = time.monotonic()
    assert "no answer within 0.3 seconds" in await failure(storage, "get")
    assert time.monotonic() - started < 15
    await storage.aclose()


@pytest.mark.parametrize("action", ACTIONS)
async def test_nobody_is_there(fake: FakeS3, action: str) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and never listens
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        storage = S3Storage(**{**fake.settings(), "endpoint_url": url})
        assert "the endpoint can't be reached" in await failure(storage, action)
        await storage.aclose()


@pytest.mark.parametrize("action", ACTIONS)
@pytest.mark.parametrize(
    ("wrong", "code"),
    [
        ({"secret_access_key": "CANARY"}, "SignatureDoesNotMatch"),
        ({"access_key_id": "CANARY"}, "InvalidAccessKeyId"),
        ({"region": "us-east-1"}, "SignatureDoesNotMatch"),
        ({"bucket": "other"}, "NoSuchBucket"),
    ],
)
async def test_wrong_settings(
    fake: FakeS3, action: str, wrong: dict[str, Any], code: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    storage = S3Storage(**{**fake.settings(), **wrong})
    assert code in await failure(storage, action)
    await storage.aclose()
    assert "CANARY" not in caplog.text
    assert fake.objects == {}


@pytest.mark.parametrize("action", ACTIONS)
async def test_a_wrong_clock(fake: FakeS3, storage: S3Storage, action: str) -> None:
    fake.now = datetime.now(UTC) + timedelta(hours=1)
    assert "this machine's clock is wrong" in await failure(storage, action)


@pytest.mark.parametrize("action", ["delete", "probe"])
async def test_not_found_is_fine_where_it_is(fake: FakeS3, storage: S3Storage, action: str) -> None:
    fake.faults.append(refusal(404, "NoSuchKey"))
    await act(storage, action)


async def test_a_key_that_may_not_list_the_bucket_is_fine(fake: FakeS3, storage: S3Storage) -> None:
    fake.faults.append(refusal(403, "AccessDenied"))
    assert "this key may not list it" in await storage.probe()


async def test_a_key_that_may_not_read_is_not(fake: FakeS3, storage: S3Storage) -> None:
    words = "User: arn:aws:iam::1:user/x is not authorized to perform: s3:GetObject on resource: y"
    fake.faults.append(Refused(403, "AccessDenied", words).reply)
    assert "the access key may not do this in this bucket" in await failure(storage, "probe")


@pytest.mark.parametrize(("length", "fits"), [(20_000, True), (20_001, False)])
async def test_how_much_is_read(fake: FakeS3, storage: S3Storage, length: int, fits: bool) -> None:  # noqa: FBT001 - of the table
    await storage.put(KEY, bytes(length), "image/png")
    if fits:
        assert await storage.get(KEY) == bytes(length)
    else:
        assert "has 20,001 bytes; at most 20,000 are read" in await failure(storage, "get")


async def test_a_huge_file_is_not_read_to_its_end(fake: FakeS3, storage: S3Storage) -> None:
    fake.faults.append(Reply(200, b"", {"ETag": '"x"'}, pad_to=2**40))
    assert "at most 20,000 are read" in await failure(storage, "get")


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_a_video_is_there_whole_or_not_at_all(
    fake: FakeS3, storage: S3Storage, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await storage.put(VIDEO, b"old", "video/mp4")
    real = fake._serve

    def serve(request: Request) -> Reply:
        if request.method == method and "uploadId" in request.query:
            raise Refused(403, "AccessDenied", "Bad thing")
        return real(request)

    monkeypatch.setattr(fake, "_serve", serve)
    with pytest.raises(StorageError, match="the service answers 403 AccessDenied"):
        await storage.put(VIDEO, bytes(2 * PART), "video/mp4")
    assert fake.objects[VIDEO].data == b"old"
    assert fake.uploads == {}, "what was sent has been taken back"


async def test_an_upload_in_parts_that_gets_no_name(fake: FakeS3, storage: S3Storage) -> None:
    fake.faults.append(Reply(200, b"<html>"))
    with pytest.raises(StorageError, match="the answer makes no sense"):
        await storage.put(VIDEO, bytes(PART + 1), "video/mp4")
    assert fake.objects == {}
