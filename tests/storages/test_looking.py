"""What storages say of files that they aren't asked to give: when they can't tell, they say so."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tallyframe.storages.base import Storage, StorageError
from tallyframe.storages.cloudinary import CloudinaryStorage
from tallyframe.storages.local import LocalStorage
from tallyframe.storages.s3 import S3Storage
from tallyframe.storages.unconfigured import Unconfigured
from tests.support.cloudinary import FakeCloudinary, fake_cloudinary
from tests.support.s3 import FakeS3, fake_s3
from tests.support.vendor import DROP, Reply

KEY = "uploads/a.png"
DENIED = Reply(403, b"<Error><Code>AccessDenied</Code></Error>")


async def keys(storage: Storage) -> list[str]:
    return sorted([key async for page in storage.listed("uploads") for key in page])


@pytest.fixture
async def fake() -> AsyncIterator[FakeS3]:
    async with fake_s3() as served:
        yield served


@pytest.fixture
async def bucket(fake: FakeS3) -> S3Storage:
    return S3Storage(**fake.settings())


@pytest.fixture
async def account() -> AsyncIterator[FakeCloudinary]:
    async with fake_cloudinary() as served:
        yield served


async def test_a_bucket_is_listed_to_its_end(fake: FakeS3, bucket: S3Storage) -> None:
    fake.page = 2
    wanted = [f"uploads/{name}.png" for name in "abcde"]
    for key in (*wanted, "generations/a.png"):
        await bucket.put(key, b"data", "image/png")
    assert await keys(bucket) == wanted
    listings = [request for request in fake.served.requests if "list-type" in request.query]
    assert [request.query["prefix"] for request in listings] == ["uploads/"] * 3


async def test_a_bucket_is_asked_for_headers_only(fake: FakeS3, bucket: S3Storage) -> None:
    await bucket.put(KEY, b"data", "image/png")
    assert await bucket.size(KEY) == 4
    assert [request.method for request in fake.served.requests] == ["PUT", "HEAD"]


@pytest.mark.parametrize("reply", [DENIED, DROP], ids=["denied", "dropped"])
async def test_a_bucket_that_does_not_say(fake: FakeS3, bucket: S3Storage, reply: Reply) -> None:
    await bucket.put(KEY, b"data", "image/png")
    fake.faults = [reply] * 3
    with pytest.raises(StorageError, match="S3 can't look for"):
        await bucket.size(KEY)
    fake.faults = [reply] * 3
    with pytest.raises(StorageError, match="S3 can't list 'uploads'"):
        await keys(bucket)


async def test_the_probe_tells_a_wrong_bucket_from_a_missing_file(fake: FakeS3) -> None:
    wrong = S3Storage(**{**fake.settings(), "bucket": "another"})
    assert await wrong.size(KEY) is None
    with pytest.raises(StorageError, match="there is no such bucket"):
        await wrong.probe()


@pytest.mark.parametrize("status", [401, 420, 500])
async def test_cloudinary_that_does_not_say(account: FakeCloudinary, status: int) -> None:
    storage = CloudinaryStorage(**account.settings())
    account.faults = [Reply(status, headers={"X-Cld-Error": "not now"})]
    with pytest.raises(StorageError, match=f"look for 'uploads/a.png': the service answers {status}: not now"):
        await storage.size(KEY)
    account.faults = [Reply(200, headers={"Content-Length": "many"})]
    with pytest.raises(StorageError, match="Cloudinary can't look for"):
        await storage.size(KEY)
    await storage.aclose()


async def test_cloudinary_is_not_asked_through_its_cache(account: FakeCloudinary) -> None:
    storage = CloudinaryStorage(**account.settings())
    await storage.put(KEY, b"\x89PNG\r\n\x1a\nold", "image/png")
    assert await storage.size(KEY) == 11
    await storage.delete(KEY)
    assert await storage.size(KEY) is None
    await storage.aclose()


async def test_a_folder_that_is_away_is_not_an_empty_one(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path / "disk" / "media", "http://127.0.0.1:8000")
    with pytest.raises(StorageError, match="can't look for"):
        await storage.size(KEY)
    await storage.put(KEY, b"data", "image/png")
    assert await storage.size(KEY) == 4
    assert await storage.size("uploads") is None


async def test_links_and_half_written_files_are_not_listed(tmp_path: Path) -> None:
    storage = LocalStorage(tmp_path, "http://127.0.0.1:8000")
    await storage.put(KEY, b"data", "image/png")
    (tmp_path / "uploads" / ".half.part").write_bytes(b"da")
    (tmp_path / "uploads" / "link.png").symlink_to(tmp_path / KEY)
    (tmp_path / "uploads" / "others").symlink_to(tmp_path)
    assert await keys(storage) == [KEY]


async def test_what_is_not_configured_says_so() -> None:
    storage = Unconfigured("s3", "http://127.0.0.1:8000")
    with pytest.raises(StorageError, match="its settings are gone"):
        await storage.size(KEY)
    with pytest.raises(StorageError, match="its settings are gone"):
        storage.listed("uploads")
