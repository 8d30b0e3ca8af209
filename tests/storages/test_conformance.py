"""What every storage must do. A new one joins by a line in STORAGES; what it can't do is said beside it."""

import asyncio
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from urllib.parse import urlsplit

import httpx
import pytest

from tallyframe.storages.base import EXTENSIONS, NoListing, Storage, StorageError
from tallyframe.storages.cloudinary import CloudinaryStorage
from tallyframe.storages.local import LocalStorage
from tallyframe.storages.s3 import S3Storage
from tests.support.cloudinary import fake_cloudinary
from tests.support.s3 import fake_s3

#: Bytes that begin like a file of their kind, for storages that look into what they are given.
BEGINNINGS = {
    "png": b"\x89PNG\r\n\x1a\n",
    "jpg": b"\xff\xd8\xff\xe0",
    "webp": b"RIFF\x00\x00\x00\x00WEBP",
    "mp4": b"\x00\x00\x00\x20ftypisom",
}
CONTENT_TYPES = {ending: content_type for content_type, ending in EXTENSIONS.items()}


@asynccontextmanager
async def local(folder: Path) -> AsyncIterator[Storage]:
    yield LocalStorage(folder / "media", "http://127.0.0.1:8000")


@asynccontextmanager
async def cloudinary(_folder: Path) -> AsyncIterator[Storage]:
    async with fake_cloudinary() as fake:
        yield CloudinaryStorage(**fake.settings())


@asynccontextmanager
async def s3(_folder: Path) -> AsyncIterator[Storage]:
    async with fake_s3() as fake:
        yield S3Storage(**fake.settings())


@asynccontextmanager
async def s3_public(_folder: Path) -> AsyncIterator[Storage]:
    async with fake_s3(prefix="/storage/v1/s3", region="eu-west-2") as fake:
        yield S3Storage(**fake.settings(), public_url=fake.public_url)


STORAGES: dict[str, Callable[[Path], AbstractAsyncContextManager[Storage]]] = {
    "local": local,
    "cloudinary": cloudinary,
    "s3": s3,
    "s3-public": s3_public,
}
KEEP_NO_EMPTY_FILES = {"cloudinary"}
LONGEST_KEYS = {"cloudinary": 255}  # characters; everywhere else what the rule for keys allows
TELL_NOT_WHAT_THEY_HOLD = {"cloudinary"}
SERVED_BY_THE_API = {"local"}  # so an address leads to nothing here; tests/api/test_media.py follows it


@pytest.fixture(params=STORAGES)
async def storage(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Storage]:
    async with STORAGES[request.param](tmp_path) as opened:
        yield opened
        await opened.aclose()


@pytest.fixture
def key() -> str:
    """Name a place nothing was ever stored at, also in a storage that outlives the test."""
    return f"generations/{uuid.uuid4()}/image.png"


def media(content: bytes, ending: str = "png") -> bytes:
    return BEGINNINGS[ending] + content


async def put(storage: Storage, key: str, content: bytes) -> bytes:
    """Store a file that looks like what its key's ending says, and return its bytes."""
    ending = key.rsplit(".", 1)[-1]
    data = media(content, ending)
    await storage.put(key, data, CONTENT_TYPES[ending])
    return data


async def read(url: str) -> httpx.Response:
    """Read an address like a browser that has nothing but the address."""
    async with httpx.AsyncClient() as browser:
        return await browser.get(url)


def test_the_name_is_the_one_it_is_configured_by(storage: Storage, request: pytest.FixtureRequest) -> None:
    assert storage.name in request.node.name


@pytest.mark.parametrize("content", [b"", b"\x00\xff\r\n--" * 50, bytes(5 * 2**20)], ids=["tiny", "binary", "5 MiB"])
async def test_what_was_put_is_what_is_got(storage: Storage, key: str, content: bytes) -> None:
    data = await put(storage, key, content)
    assert await storage.get(key) == data


@pytest.mark.parametrize("ending", BEGINNINGS)
async def test_every_kind_of_media_is_kept_as_it_is(storage: Storage, key: str, ending: str) -> None:
    data = await put(storage, f"{key.removesuffix('png')}{ending}", b"content")
    assert await storage.get(f"{key.removesuffix('png')}{ending}") == data


async def test_an_empty_file_is_kept_or_refused(storage: Storage, key: str) -> None:
    if storage.name in KEEP_NO_EMPTY_FILES:
        with pytest.raises(StorageError, match="keeps no empty files"):
            await storage.put(key, b"", "image/png")
    else:
        await storage.put(key, b"", "image/png")
        assert await storage.get(key) == b""


async def test_put_replaces(storage: Storage, key: str) -> None:
    await put(storage, key, b"the first and longer one")
    await storage.get(key)
    data = await put(storage, key, b"second")
    assert await storage.get(key) == data


@pytest.mark.parametrize("other", ["image-2.png", "image.jpg", "image.mp4", "image-png.png", "image/a.png"])
async def test_keys_are_apart(storage: Storage, key: str, other: str) -> None:
    other = key.replace("image.png", other)
    await put(storage, key, b"one")
    data = await put(storage, other, b"two")
    await storage.delete(key)
    assert await storage.get(other) == data


async def test_the_longest_key(storage: Storage) -> None:
    length = LONGEST_KEYS.get(storage.name, 300)
    folders = f"{uuid.uuid4()}/" + "a" * 200 + "/"
    key = folders + "b" * (length - len(folders) - 4) + ".png"
    assert len(key) == length
    data = await put(storage, key, b"data")
    assert await storage.get(key) == data


async def test_get_without_put_fails(storage: Storage, key: str) -> None:
    with pytest.raises(StorageError, match="can't read"):
        await storage.get(key)


@pytest.mark.parametrize("ending", BEGINNINGS)
async def test_size_is_that_of_what_is_there_now(storage: Storage, key: str, ending: str) -> None:
    key = f"{key.removesuffix('png')}{ending}"
    await put(storage, f"{key.removesuffix(ending)}other.png", b"something else")
    assert await storage.size(key) is None
    data = await put(storage, key, b"the first and longer one")
    assert await storage.size(key) == len(data)
    data = await put(storage, key, b"second")
    assert await storage.size(key) == len(data)
    await storage.delete(key)
    assert await storage.size(key) is None


async def test_what_is_in_a_folder_is_listed(storage: Storage) -> None:
    keys = {f"uploads/{uuid.uuid4()}.png", f"uploads/{uuid.uuid4()}.jpg", "uploads/deeper/a.webp"}
    for each in (*keys, "uploads-2/a.png", "generations/1/image.png"):
        await put(storage, each, b"data")
    if storage.name in TELL_NOT_WHAT_THEY_HOLD:
        with pytest.raises(NoListing):
            storage.listed("uploads")
        return
    assert {each async for page in storage.listed("uploads") for each in page} == keys
    assert [page async for page in storage.listed("nothing-here") if page] == []


async def test_delete_removes_and_may_come_twice(storage: Storage, key: str) -> None:
    await storage.delete(key)
    await put(storage, key, b"data")
    await storage.get(key)
    await storage.delete(key)
    await storage.delete(key)
    with pytest.raises(StorageError):
        await storage.get(key)


async def test_a_reader_sees_the_old_or_the_new_bytes_and_nothing_else(storage: Storage, key: str) -> None:
    versions = [bytes([letter]) * 200_000 for letter in b"ab"]
    await put(storage, key, versions[0])

    async def write() -> None:
        for turn in range(20):
            await put(storage, key, versions[turn % 2])

    writing = [asyncio.create_task(write()) for _ in range(2)]
    while not all(task.done() for task in writing):
        assert await storage.get(key) in map(media, versions)
    await asyncio.gather(*writing)


async def test_url_is_an_address_for_a_browser(storage: Storage, key: str) -> None:
    data = await put(storage, key, b"data")
    parts = urlsplit(storage.url(key))
    assert parts.scheme in {"http", "https"}
    assert f"/{key.removesuffix('.png')}" in parts.path
    assert parts.path.endswith(".png")
    assert parts.fragment == ""
    if storage.name not in SERVED_BY_THE_API:
        answer = await read(storage.url(key))
        assert (answer.status_code, answer.headers["content-type"], answer.content) == (200, "image/png", data)
        assert "content-disposition" not in answer.headers


@pytest.mark.parametrize(
    "name", ["holiday.png", 'holiday "b" & c?#/\r\n.png', "holiday Größe.png", "holiday/%2e%2e.png"]
)
async def test_url_for_a_download_carries_the_name_quoted(storage: Storage, key: str, name: str) -> None:
    await put(storage, key, b"data")
    url = storage.url(key, download_as=name)
    assert url.isascii()
    assert url.isprintable()
    assert not set(url) & set(' "<>#')
    assert "holiday" in url
    assert "holiday" not in storage.url(key)
    if storage.name not in SERVED_BY_THE_API:
        answer = await read(url)
        assert answer.status_code == 200
        assert answer.headers["content-disposition"].startswith("attachment")
        assert "holiday" in answer.headers["content-disposition"]


def test_addresses_say_how_long_they_work(storage: Storage) -> None:
    assert storage.url_lifetime is None or storage.url_lifetime > 0


async def test_a_probe_finds_something_and_leaves_nothing(storage: Storage, tmp_path: Path) -> None:
    found = await storage.probe()
    assert found
    assert found.isprintable()
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


@pytest.mark.parametrize(
    "key",
    [
        "",
        "/",
        "/a",
        "a/",
        "a//b",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "a..b",
        "./a",
        "a/.b",
        ".a",
        "A",
        "a b",
        "a\\b",
        "a\x00",
        "a\n",
        "a%2fb",
        "%2e%2e/a",
        "é",
        "a:b",
        "~",
        "*",
        "a" * 301,
        "a/" * 150 + "a",
        "c:/a",
        "\uff0e\uff0e/a",
    ],
)
async def test_other_than_plain_keys_are_refused(storage: Storage, key: str) -> None:
    with pytest.raises(StorageError):
        await storage.put(key, media(b"data"), "image/png")
    with pytest.raises(StorageError):
        await storage.get(key)
    with pytest.raises(StorageError):
        await storage.size(key)
    with pytest.raises(StorageError):
        await storage.delete(key)
    with pytest.raises(StorageError):
        storage.url(key)
