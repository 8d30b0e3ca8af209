import asyncio
import hashlib
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from tallyframe.storages.s3 import S3Storage
from tests.support.s3 import FakeS3, fake_s3

KEY = "generations/1/image.png"
VIDEO = "generations/1/video.mp4"
PART = 8 * 2**20  # bytes


@pytest.fixture(params=["", "/storage/v1/s3"], ids=["at the root", "under a path"])
async def fake(request: pytest.FixtureRequest) -> AsyncIterator[FakeS3]:
    async with fake_s3(prefix=request.param) as served:
        yield served


@pytest.fixture
async def storage(fake: FakeS3) -> AsyncIterator[S3Storage]:
    opened = S3Storage(**fake.settings())
    yield opened
    await opened.aclose()


async def test_a_small_file_is_one_request(fake: FakeS3, storage: S3Storage) -> None:
    await storage.put(KEY, b"data", "image/png")
    [request] = fake.served.requests
    assert (request.method, request.target) == ("PUT", f"{fake.prefix}/media/{KEY}")
    assert request.body == b"data"
    assert request.headers["content-type"] == "image/png"
    assert request.headers["x-amz-content-sha256"] == hashlib.sha256(b"data").hexdigest()
    assert not any("checksum" in name for name in request.headers)


async def test_a_large_video_goes_up_in_parts(fake: FakeS3, storage: S3Storage) -> None:
    video = os.urandom(2 * PART + 123)
    await storage.put(VIDEO, video, "video/mp4")
    begun, *parts, completed = fake.served.requests
    assert (begun.method, begun.query) == ("POST", {"uploads": ""})
    sent = {int(request.query["partNumber"]): request.body for request in parts}
    assert [len(sent[number]) for number in (1, 2, 3)] == [PART, PART, 123]
    assert b"".join(sent[number] for number in (1, 2, 3)) == video
    assert (completed.method, completed.query) == ("POST", {"uploadId": "upload-1"})
    assert fake.objects[VIDEO].headers["Content-Type"] == "video/mp4"
    assert fake.uploads == {}
    assert await storage.get(VIDEO) == video


@pytest.mark.parametrize(("length", "requests"), [(PART, 1), (PART + 1, 4)])
async def test_where_parts_begin(fake: FakeS3, storage: S3Storage, length: int, requests: int) -> None:
    await storage.put(VIDEO, bytes(length), "video/mp4")
    assert len(fake.served.requests) == requests
    assert len(fake.objects[VIDEO].data) == length


@pytest.mark.parametrize(("public", "shared"), [(True, "public"), (False, "private")])
async def test_how_long_a_file_may_be_cached(fake: FakeS3, public: bool, shared: str) -> None:  # noqa: FBT001 - of the table
    storage = S3Storage(**fake.settings(), public_url=fake.public_url if public else "")
    for key, data in {KEY: b"data", VIDEO: bytes(PART + 1)}.items():
        await storage.put(key, data, "image/png")
        assert fake.objects[key].headers["Cache-Control"] == f"{shared}, max-age=86400, immutable"
    await storage.aclose()


async def test_the_same_upload_again_is_fine(fake: FakeS3, storage: S3Storage) -> None:
    for _ in range(2):
        await storage.put(KEY, b"data", "image/png")
    assert len(fake.served.requests) == 2
    assert fake.objects[KEY].data == b"data"


async def test_a_deletion_is_a_plain_one(fake: FakeS3, storage: S3Storage) -> None:
    await storage.put(KEY, b"data", "image/png")
    await storage.delete(KEY)
    assert [(request.method, request.path) for request in fake.served.requests[1:]] == [
        ("DELETE", f"{fake.prefix}/media/{KEY}")
    ]
    assert fake.objects == {}


@pytest.mark.parametrize("objects", [0, 1])
async def test_the_probe_reads_what_is_not_there(fake: FakeS3, storage: S3Storage, objects: int) -> None:
    for number in range(objects):
        await storage.put(f"{number}.png", b"data", "image/png")
    found = await storage.probe()
    assert found == f"bucket 'media' at {fake.url} answers; addresses are signed for 3,600 seconds"
    request = fake.served.requests[-1]
    assert (request.method, request.path) == ("GET", f"{fake.prefix}/media/tallyframe-probe")
    assert len(fake.objects) == objects


async def test_the_probe_says_where_the_public_reads(fake: FakeS3) -> None:
    storage = S3Storage(**fake.settings(), public_url=f"{fake.public_url}/")
    assert (await storage.probe()).endswith(f"addresses are public, {fake.public_url}")
    await storage.aclose()


async def test_many_at_once(fake: FakeS3, storage: S3Storage) -> None:
    files = {f"generations/{number}/image.png": os.urandom(1000) for number in range(40)}
    await asyncio.gather(*(storage.put(key, data, "image/png") for key, data in files.items()))
    assert await asyncio.gather(*(storage.get(key) for key in files)) == list(files.values())


@pytest.mark.parametrize("header", ["x-amz-checksum-crc32", "x-amz-sdk-checksum-algorithm"])
async def test_the_stand_in_takes_no_checksum_headers(fake: FakeS3, header: str) -> None:
    async with httpx.AsyncClient() as client:
        answer = await client.put(f"{fake.url}/media/{KEY}", content=b"data", headers={header: "x"})
    assert (answer.status_code, fake.objects) == (501, {})


async def test_nothing_shows_the_secret_by_its_repr(fake: FakeS3, storage: S3Storage) -> None:
    assert fake.secret_access_key not in repr(vars(storage))


SETTINGS: dict[str, Any] = {
    "bucket": "media",
    "endpoint_url": "https://s3.example",
    "access_key_id": "id",
    "secret_access_key": "CANARY",
}


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"bucket": ""}, "needs a bucket"),
        ({"access_key_id": ""}, "an access key id"),
        ({"secret_access_key": ""}, "a secret access key"),
        ({"region": ""}, "and a region"),
        ({"endpoint_url": ""}, "The S3 endpoint has to be like https"),
        ({"endpoint_url": "s3.example"}, "The S3 endpoint"),
        ({"endpoint_url": "ftp://s3.example"}, "The S3 endpoint"),
        ({"endpoint_url": "https://CANARY:CANARY@s3.example"}, "The S3 endpoint"),
        ({"endpoint_url": "https://s3.example?CANARY"}, "The S3 endpoint"),
        ({"endpoint_url": "https://s3.example#CANARY"}, "The S3 endpoint"),
        ({"public_url": "cdn.example"}, "The public address of the S3 bucket"),
        ({"url_lifetime": 604_801}, "live for 2 to 604800 seconds, not 604801"),
        ({"url_lifetime": 1.5}, "live for 2 to 604800 seconds, not 1.5"),
        ({"url_lifetime": float("nan")}, "live for 2 to 604800 seconds"),
    ],
)
def test_bad_settings(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why) as caught:
        S3Storage(**{**SETTINGS, **changes})
    assert "CANARY" not in str(caught.value)


IN_A_PROCESS = """
import asyncio, sys
from tallyframe.storages.s3 import S3Storage

async def main(endpoint, key, secret):
    storage = S3Storage("media", endpoint_url=endpoint, access_key_id=key, secret_access_key=secret)
    await storage.probe()
    await storage.put("a.png", b"data", "image/png")
    assert await storage.get("a.png") == b"data"
    await storage.delete("a.png")
    print(storage.url("a.png"))
    await storage.aclose()

asyncio.run(main(*sys.argv[1:]))
"""

CANARIES = {
    "AWS_ACCESS_KEY_ID": "canary",
    "AWS_SECRET_ACCESS_KEY": "canary",
    "AWS_SESSION_TOKEN": "canary",
    "AWS_REGION": "canary-1",
    "AWS_DEFAULT_REGION": "canary-1",
    "AWS_BUCKET": "canary",
    "AWS_ENDPOINT": "http://127.0.0.1:1/canary",
    "AWS_ENDPOINT_URL": "http://127.0.0.1:1/canary",
    "AWS_ENDPOINT_URL_S3": "http://127.0.0.1:1/canary",
    "AWS_SKIP_SIGNATURE": "true",
    "AWS_UNSIGNED_PAYLOAD": "true",
    "AWS_REQUEST_PAYER": "true",
    "AWS_S3_EXPRESS": "true",
    "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "true",
    "AWS_DISABLE_BULK_DELETE": "false",
    "AWS_WEB_IDENTITY_TOKEN_FILE": "/canary",
    "AWS_ROLE_ARN": "canary",
    "AWS_ALLOW_HTTP": "false",
}


async def test_the_environment_changes_nothing(fake: FakeS3) -> None:
    command = [sys.executable, "-c", IN_A_PROCESS, fake.url, fake.access_key_id, fake.secret_access_key]
    done = await asyncio.to_thread(
        subprocess.run,
        command,
        env={**os.environ, **CANARIES},
        capture_output=True,
        text=True,
        timeout=90,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith(f"{fake.url}/media/a.png?X-Amz-Algorithm=")
    assert [request.method for request in fake.served.requests] == ["GET", "PUT", "GET", "DELETE"]
    for text in (done.stdout, *map(repr, fake.served.requests)):
        assert "canary" not in text
    for request in fake.served.requests:
        assert {name for name in request.headers if name.startswith("x-amz-")} == {"x-amz-date", "x-amz-content-sha256"}
        assert request.headers["x-amz-content-sha256"] == hashlib.sha256(request.body).hexdigest()
