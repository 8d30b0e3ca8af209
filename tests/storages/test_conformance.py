"""What every storage must do. A new one joins by a line in STORAGES."""

import asyncio
import uuid
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, urlsplit

import pytest

from tallyframe.storages.base import Storage, StorageError
from tallyframe.storages.local import LocalStorage

STORAGES: dict[str, Callable[[Path], Storage]] = {
    "local": lambda folder: LocalStorage(folder / "media", "http://127.0.0.1:8000"),
}


@pytest.fixture(params=STORAGES)
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Storage:
    return STORAGES[request.param](tmp_path)


@pytest.fixture
def key() -> str:
    """Name a place nothing was ever stored at, also in a storage that outlives the test."""
    return f"generations/{uuid.uuid4()}/image.png"


def test_the_name_is_the_one_it_is_configured_by(storage: Storage, request: pytest.FixtureRequest) -> None:
    assert storage.name in request.node.name


@pytest.mark.parametrize("data", [b"", b"\x00\xff" * 50, bytes(5 * 2**20)], ids=["empty", "binary", "5 MiB"])
async def test_what_was_put_is_what_is_got(storage: Storage, key: str, data: bytes) -> None:
    await storage.put(key, data, "image/png")
    assert await storage.get(key) == data


async def test_put_replaces(storage: Storage, key: str) -> None:
    await storage.put(key, b"the first and longer one", "image/png")
    await storage.put(key, b"second", "image/png")
    assert await storage.get(key) == b"second"


async def test_keys_are_apart(storage: Storage, key: str) -> None:
    other = key.replace("image.png", "image-2.png")
    await storage.put(key, b"one", "image/png")
    await storage.put(other, b"two", "image/png")
    await storage.delete(key)
    assert await storage.get(other) == b"two"


async def test_the_longest_key(storage: Storage) -> None:
    key = f"{uuid.uuid4()}/" + "a" * 200 + "/" + "b" * 62
    assert len(key) == 300
    await storage.put(key, b"data", "image/png")
    assert await storage.get(key) == b"data"


async def test_get_without_put_fails(storage: Storage, key: str) -> None:
    with pytest.raises(StorageError):
        await storage.get(key)


async def test_delete_removes_and_may_come_twice(storage: Storage, key: str) -> None:
    await storage.delete(key)
    await storage.put(key, b"data", "image/png")
    await storage.delete(key)
    await storage.delete(key)
    with pytest.raises(StorageError):
        await storage.get(key)


async def test_a_reader_sees_the_old_or_the_new_bytes_and_nothing_else(storage: Storage, key: str) -> None:
    versions = [bytes([letter]) * 200_000 for letter in b"ab"]
    await storage.put(key, versions[0], "image/png")

    async def write() -> None:
        for turn in range(20):
            await storage.put(key, versions[turn % 2], "image/png")

    writing = [asyncio.create_task(write()) for _ in range(2)]
    while not all(task.done() for task in writing):
        assert await storage.get(key) in versions
    await asyncio.gather(*writing)


def test_url_is_an_address_for_a_browser(storage: Storage, key: str) -> None:
    parts = urlsplit(storage.url(key))
    assert parts.scheme in {"http", "https"}
    assert parts.path.endswith(f"/{key}")


@pytest.mark.parametrize("name", ["image.png", 'a "b" & c?#/\r\n.png', "Größe.png"])
def test_url_for_a_download_carries_the_name_quoted(storage: Storage, key: str, name: str) -> None:
    url = storage.url(key, download_as=name)
    assert url != storage.url(key)
    assert url.isascii()
    assert url.isprintable()
    assert quote(name, safe="").split("%")[0] in url
    assert urlsplit(url).path == urlsplit(storage.url(key)).path


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
        await storage.put(key, b"data", "image/png")
    with pytest.raises(StorageError):
        await storage.get(key)
    with pytest.raises(StorageError):
        await storage.delete(key)
    with pytest.raises(StorageError):
        storage.url(key)
