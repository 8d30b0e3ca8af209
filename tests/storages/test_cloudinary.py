import asyncio
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from tallyframe.storages.base import StorageError
from tallyframe.storages.cloudinary import SMALLEST_CHUNK, CloudinaryStorage
from tests.support.cloudinary import JPEG, MP4, PNG, FakeCloudinary, fake_cloudinary, parts_of

KEY = "generations/1/image.png"
VIDEO = "generations/1/video.mp4"


@pytest.fixture
async def fake() -> AsyncIterator[FakeCloudinary]:
    async with fake_cloudinary() as served:
        yield served


@pytest.fixture
async def storage(fake: FakeCloudinary) -> AsyncIterator[CloudinaryStorage]:
    opened = CloudinaryStorage(**fake.settings(), chunk_bytes=SMALLEST_CHUNK)
    yield opened
    await opened.aclose()


def uploads(fake: FakeCloudinary) -> list[dict[str, bytes]]:
    return [parts_of(request) for request in fake.served.asked("POST", "/upload")]


async def test_an_upload_replaces_and_says_so_to_the_cdn(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    await storage.put(KEY, PNG + b"1", "image/png")
    [sent] = uploads(fake)
    assert sent.keys() == {"public_id", "overwrite", "invalidate", "timestamp", "signature", "api_key", "file"}
    assert (sent["public_id"], sent["file"]) == (b"generations/1/image-png", PNG + b"1")
    assert (sent["overwrite"], sent["invalidate"]) == (b"1", b"1")
    assert fake.assets == {("image", "generations/1/image-png"): PNG + b"1"}


async def test_the_same_upload_again_is_fine(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    for _ in range(2):
        await storage.put(KEY, PNG + b"1", "image/png")
    assert len(uploads(fake)) == 2
    assert list(fake.assets.values()) == [PNG + b"1"]


async def test_an_account_may_ask_for_sha256() -> None:
    async with fake_cloudinary(algorithm="sha256") as fake:
        storage = CloudinaryStorage(**fake.settings())
        await storage.put(KEY, PNG, "image/png")
        await storage.delete(KEY)
        await storage.aclose()
        assert {len(each["signature"]) for each in uploads(fake)} == {64}


async def test_a_large_video_goes_up_in_chunks(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    video = MP4 + os.urandom(12_000_000 - len(MP4))
    await storage.put(VIDEO, video, "video/mp4")
    requests = fake.served.asked("POST", "/video/upload")
    assert [request.headers["content-range"] for request in requests] == [
        "bytes 0-5242879/12000000",
        "bytes 5242880-10485759/12000000",
        "bytes 10485760-11999999/12000000",
    ]
    assert len({request.headers["x-unique-upload-id"] for request in requests}) == 1
    assert {sent["public_id"] for sent in uploads(fake)} == {b"generations/1/video-mp4"}
    assert b"".join(sent["file"] for sent in uploads(fake)) == video
    assert await storage.get(VIDEO) == video


@pytest.mark.parametrize(("length", "requests"), [(SMALLEST_CHUNK, 1), (SMALLEST_CHUNK + 1, 2)])
async def test_where_chunks_begin(fake: FakeCloudinary, storage: CloudinaryStorage, length: int, requests: int) -> None:
    await storage.put(VIDEO, MP4.ljust(length, b"x"), "video/mp4")
    sent = fake.served.asked("POST", "/upload")
    assert ["content-range" in request.headers for request in sent] == ([False] if requests == 1 else [True] * requests)
    assert len(fake.assets["video", "generations/1/video-mp4"]) == length


async def test_two_videos_at_once_stay_apart(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    videos = {f"generations/{number}/video.mp4": MP4 + os.urandom(SMALLEST_CHUNK) for number in range(3)}
    await asyncio.gather(*(storage.put(key, video, "video/mp4") for key, video in videos.items()))
    assert {key: await storage.get(key) for key in videos} == videos


async def test_a_deletion_names_the_kind_of_file(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    await storage.put(VIDEO, MP4, "video/mp4")
    await storage.delete(VIDEO)
    [request] = fake.served.asked("POST", "/v1_1/demo-cloud/video/destroy")
    assert parts_of(request)["invalidate"] == b"1"
    assert fake.assets == {}


async def test_reading_goes_around_old_copies_in_the_cdn(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    for number in (b"1", b"2", b"3"):
        await storage.put(KEY, PNG + number, "image/png")
        assert await storage.get(KEY) == PNG + number
    versions = [re.search(r"/upload/v(\d+)/", request.path) for request in fake.served.asked("GET", "/res/")]
    numbers = [int(found[1]) for found in versions if found]
    assert len(set(numbers)) == 3
    assert all(1 < number < 1_000_000_000 for number in numbers)  # no version of a real upload, and not v1
    assert not fake.served.asked("GET", "/v1_1/"), "the admin API has few calls an hour"


async def test_url(fake: FakeCloudinary) -> None:
    storage = CloudinaryStorage(fake.account_url)
    assert storage.url(KEY) == "https://res.cloudinary.com/demo-cloud/image/upload/v1/generations/1/image-png.png"
    assert storage.url(VIDEO) == "https://res.cloudinary.com/demo-cloud/video/upload/v1/generations/1/video-mp4.mp4"
    assert storage.url_lifetime is None
    await storage.aclose()


@pytest.mark.parametrize(
    ("name", "flag"),
    [
        ("holiday.png", "fl_attachment:holiday"),
        ("HOLIDAY.PNG", "fl_attachment:HOLIDAY"),
        ("a.b/c,d:e?f#g%2e.png", "fl_attachment:a_b_c_d_e_f_g_2e"),
        ("Größe 1.png", "fl_attachment:Gro_e_1"),
        ("holiday.jpg", "fl_attachment:holiday_jpg"),
        ("x" * 300, "fl_attachment:" + "x" * 100),
        ("\u043f\u043b\u044f\u0436.png", "fl_attachment"),
        (".png", "fl_attachment"),
        ("", "fl_attachment"),
    ],
)
async def test_what_is_left_of_a_name(storage: CloudinaryStorage, name: str, flag: str) -> None:
    assert f"/image/upload/{flag}/v1/generations/1/image-png.png" in storage.url(KEY, download_as=name)


@pytest.mark.parametrize("key", ["image", "a/image.gif", "a.png/b", "v1/a.png", "a/v20/b.png", "a" * 252 + ".png"])
async def test_keys_that_cloudinary_can_not_keep(storage: CloudinaryStorage, key: str) -> None:
    for action in (storage.put(key, PNG, "image/png"), storage.get(key), storage.delete(key)):
        with pytest.raises(StorageError, match="Cloudinary can't keep"):
            await action
    with pytest.raises(StorageError, match="Cloudinary can't keep"):
        storage.url(key)


@pytest.mark.parametrize("key", ["v1a/a.png", "av1/a.png", "a/v1.png", "v.1/a.png"])
async def test_names_like_versions_that_are_none(storage: CloudinaryStorage, key: str) -> None:
    await storage.put(key, PNG, "image/png")
    assert await storage.get(key) == PNG


async def test_the_probe_pings_with_the_credentials(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    found = await storage.probe()
    assert found.startswith("cloud 'demo-cloud' answers at http://127.0.0.1:")
    assert [request.path for request in fake.served.requests] == ["/v1_1/demo-cloud/ping"]


@pytest.mark.parametrize(
    "url",
    [
        "",
        "CANARY",
        "https://CANARYKEY:CANARYSECRET@cloud",
        "cloudinary://CANARYKEY@cloud",
        "cloudinary://CANARYKEY:@cloud",
        "cloudinary://:CANARYSECRET@cloud",
        "cloudinary://CANARYKEY:CANARYSECRET@",
        "cloudinary://CANARYKEY:CANARYSECRET@cloud/private",
        "cloudinary://CANARYKEY:CANARYSECRET@cloud?api_proxy=http://127.0.0.1:1",
        "cloudinary://CANARYKEY:CANARYSECRET@cloud?signature_algorithm=md5",
        "cloudinary://CANARYKEY:CANARYSECRET@cloud ",
        "cloudinary://CANARYKEY:CANARYSECRET@../cloud",
    ],
)
def test_a_malformed_url_is_named_but_not_shown(url: str) -> None:
    with pytest.raises(ValueError, match="CLOUDINARY_URL") as caught:
        CloudinaryStorage(url)
    assert "CANARY" not in str(caught.value)


def test_chunks_have_a_least_size(fake: FakeCloudinary) -> None:
    with pytest.raises(ValueError, match="at least, not 5,242,879"):
        CloudinaryStorage(fake.account_url, chunk_bytes=SMALLEST_CHUNK - 1)


async def test_nothing_shows_the_secret_by_its_repr(fake: FakeCloudinary, storage: CloudinaryStorage) -> None:
    shown = repr(vars(storage))
    assert fake.cloud in shown
    assert fake.secret not in shown
    assert fake.key not in shown


IN_A_PROCESS = """
import asyncio, sys
from tallyframe.storages.cloudinary import CloudinaryStorage

async def main(url, api, delivery):
    storage = CloudinaryStorage(url, upload_prefix=api, delivery_url=delivery, chunk_bytes=5 * 2**20)
    png, mp4 = b"\\x89PNG\\r\\n\\x1a\\n", b"\\x00\\x00\\x00\\x20ftypisom" + bytes(6 * 2**20)
    await storage.probe()
    await storage.put("a.png", png, "image/png")
    await storage.put("a.mp4", mp4, "video/mp4")
    assert [await storage.get("a.png"), await storage.get("a.mp4")] == [png, mp4]
    await storage.delete("a.png")
    print(storage.url("a.png"))
    await storage.aclose()

asyncio.run(main(*sys.argv[1:]))
"""

CANARIES = {
    "CLOUDINARY_CLOUD_NAME": "canary",
    "CLOUDINARY_API_KEY": "canary",
    "CLOUDINARY_API_SECRET": "canary",
    "CLOUDINARY_OAUTH_TOKEN": "canary",
    "CLOUDINARY_UPLOAD_PREFIX": "http://127.0.0.1:1/canary",
    "CLOUDINARY_UPLOAD_PRESET": "canary",
    "CLOUDINARY_SIGNATURE_ALGORITHM": "sha256",
    "CLOUDINARY_SIGNATURE_VERSION": "1",
    "CLOUDINARY_DPR": "3.0",
    "CLOUDINARY_RESPONSIVE_WIDTH": "true",
    "CLOUDINARY_SECURE": "false",
    "CLOUDINARY_TIMEOUT": "0.000001",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "http_proxy": "http://127.0.0.1:1",
}


async def in_a_process(fake: FakeCloudinary, environment: dict[str, str]) -> "subprocess.CompletedProcess[str]":
    addresses = [fake.account_url, fake.served.url, f"{fake.served.url}/res"]
    command = [sys.executable, "-c", IN_A_PROCESS, *addresses]
    return await asyncio.to_thread(
        subprocess.run, command, env=environment, capture_output=True, text=True, timeout=90, check=False
    )


@pytest.mark.parametrize("canaries", [CANARIES, {"CLOUDINARY_URL": "cloudinary://canary:canary@canary?dpr=3.0"}])
async def test_the_environment_changes_nothing(fake: FakeCloudinary, canaries: dict[str, str]) -> None:
    done = await in_a_process(fake, {**os.environ, **canaries})
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == f"{fake.served.url}/res/{fake.cloud}/image/upload/v1/a-png.png"
    assert len(fake.served.requests) == 7  # a ping, a picture, a video in two chunks, two reads and a deletion
    for request in fake.served.requests:
        assert "canary" not in repr(request)
        assert "bearer" not in repr(request.headers).lower()
        assert "transformation" not in (parts_of(request) if request.method == "POST" else {})


async def test_a_proxy_in_the_environment_is_refused(fake: FakeCloudinary) -> None:
    proxied = "cloudinary://canary:canary@canary?api_proxy=http://127.0.0.1:1"
    done = await in_a_process(fake, {**os.environ, "CLOUDINARY_URL": proxied})
    assert done.returncode == 1
    assert "ValueError: Cloudinary's SDK finds a proxy (api_proxy) in the environment" in done.stderr
    assert fake.served.requests == []


@pytest.mark.parametrize(
    ("key", "data", "why"),
    [
        (KEY, MP4, "400: Invalid image file"),
        (VIDEO, PNG, "400: Unsupported video format or file"),
        (KEY, JPEG, "differs in format: 'jpg', not 'png'"),
        (KEY, b"", "keeps no empty files"),
    ],
)
async def test_a_file_has_to_be_what_its_key_says(storage: CloudinaryStorage, key: str, data: bytes, why: str) -> None:
    with pytest.raises(StorageError, match=re.escape(why)):
        await storage.put(key, data, "image/png")
